// Package unixsock opens listening unix sockets with the permissions that they
// are meant to have, in place of those that a crashed process left behind.
package unixsock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// MaxPath is the longest path of a socket that Linux accepts, in bytes.
const MaxPath = 107

// lockPatience is how long others that start at the same time may take.
const lockPatience = 2 * time.Second

// Path is the path of a socket, absolute or relative. There is no other than one that
// ParsePath accepts, and the zero value, where nobody can listen and nothing is reached.
type Path struct{ text string }

// ParsePath returns the path that is written like that, or an error that says what is
// wrong. It looks at the text only.
func ParsePath(text string) (Path, error) {
	switch {
	case text == "":
		return Path{}, errNoPath
	case len(text) > MaxPath:
		return Path{}, fmt.Errorf("%d bytes long, the path of a socket may have %d: use a shorter directory, a relative path or a symbolic link", len(text), MaxPath)
	case strings.ContainsRune(text, 0):
		return Path{}, errors.New("not a path: it has a zero byte")
	}
	return Path{text}, nil
}

// ParseSetting is ParsePath of what a setting says, such as haproxy_socket, or another name
// for what the path is of: the error names that and the text.
func ParseSetting(name, text string) (Path, error) {
	path, err := ParsePath(text)
	if err != nil {
		err = fmt.Errorf("%s: %q: %w", name, text, err)
	}
	return path, err
}

var errNoPath = errors.New("not set: give the path of a unix socket")

// String returns the path as ParsePath reads it.
func (p Path) String() string { return p.text }

// Dial connects to the socket. Without a path, the system would take an address of its
// own choice.
func (p Path) Dial(ctx context.Context) (net.Conn, error) {
	if p == (Path{}) {
		return nil, errNoPath
	}
	return new(net.Dialer).DialContext(ctx, "unix", p.text)
}

// Listen opens a listening socket there, with that mode and, unless it is "",
// that group (name or number). A socket on which nobody listens any more is
// replaced; anything else at that path is left alone. Closing the listener
// removes the socket. Of several who start at once one gets it.
func Listen(at Path, mode fs.FileMode, group string) (net.Listener, error) {
	if at == (Path{}) {
		return nil, fmt.Errorf("socket %q: %w", "", errNoPath)
	}
	path := at.text
	gid, err := groupID(group)
	if err != nil {
		return nil, err
	}
	unlock, err := lock(path)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, explain(path, err)
	}
	if err := permit(path, mode, gid); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// lock keeps others from looking for a stale socket in the same directory until the
// function that it returns is called: between bind and listen, and until it is bound, a
// socket looks as stale as one that was left behind. Whoever may read the directory can
// hold its lock for ever, so after lockPatience it is done without.
func lock(path string) (unlock func(), err error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, explain(path, err)
	}
	for end := time.Now().Add(lockPatience); ; time.Sleep(time.Millisecond) {
		err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil || errors.Is(err, syscall.EWOULDBLOCK) && time.Now().After(end) {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("%s: lock its directory: %w", path, err), dir.Close())
		}
	}
	return func() {
		// A process that is just being started may have a copy of the file, which closing
		// leaves locked.
		_ = syscall.Flock(int(dir.Fd()), syscall.LOCK_UN)
		_ = dir.Close()
	}, nil
}

// explain adds the hint to the errors that operators meet.
func explain(path string, err error) error {
	dir := filepath.Dir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: there is no directory %s: create it, writable for this user", path, dir)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: this user must be allowed to read and write %s: %w", path, dir, err)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: is in use by another process", path)
	}
	return fmt.Errorf("listen on %s: %w", path, err)
}

// removeStale removes a socket on which nobody listens.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return explain(path, err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s: there is something that is not a socket: move it away or choose another path", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		_ = conn.Close()
		return fmt.Errorf("%s: is in use by another process: stop that one or choose another path", path)
	case !errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%s: cannot report whether it is in use: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: remove the stale socket: %w", path, err)
	}
	return nil
}

// permit sets mode and group; -1 leaves the group.
func permit(path string, mode fs.FileMode, gid int) error {
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("set the permissions of the socket: %w", err)
	}
	if gid < 0 {
		return nil
	}
	if err := os.Chown(path, -1, gid); err != nil {
		return fmt.Errorf("set the group of the socket: %w (this user must be a member of the group)", err)
	}
	return nil
}

// groupID returns -1 for "".
func groupID(group string) (int, error) {
	if group == "" {
		return -1, nil
	}
	if gid, err := strconv.ParseUint(group, 10, 31); err == nil {
		return int(gid), nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return 0, fmt.Errorf("group of the socket: %w", err)
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return 0, fmt.Errorf("group of the socket: %q has the number %q", group, g.Gid)
	}
	return gid, nil
}
