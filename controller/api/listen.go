package api

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

const (
	socketMode = 0o660
	// maxSocketPath is what fits sun_path on Linux, less the closing NUL.
	maxSocketPath = 107
	probeTimeout  = time.Second
)

// Listen opens the admin socket at path, for its owner and group only (0660).
// What a dead controller left behind is removed; the socket of a living one,
// and any other file, is not.
func Listen(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("admin socket %s: the path has %d bytes, the system allows %d: set a shorter admin_socket",
			path, len(path), maxSocketPath)
	}
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("admin socket %s: %w", path, err)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("opening the admin socket: %w", err)
	}
	if err := os.Chmod(path, socketMode); err != nil {
		ln.Close()
		return nil, fmt.Errorf("opening the admin socket: %w", err)
	}
	return ln, nil
}

// removeStale makes way for a socket at path if nobody listens there.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("something that is not a socket is there: move it away or set another admin_socket")
	}
	conn, err := net.DialTimeout("unix", path, probeTimeout)
	if err == nil {
		conn.Close()
		return errors.New("another dfaas-controller listens there: stop it or set another admin_socket")
	}
	// Only a refused connection proves that nobody listens: a busy listener
	// or missing permissions look different.
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("finding out whether another dfaas-controller listens: %w", err)
	}
	return os.Remove(path)
}
