package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/dfaas/dfaas/internal/unixsock"
)

// Running is a controller that runs, and how it was started.
type Running struct {
	PID     int // 0: not found
	UID     int
	Args    []string // without the program's name
	Environ []string
	Dir     string // that it works in
}

// controllerName is the name of its process, which the kernel cuts to 15 bytes.
const controllerName = "dfaas-controlle"

// FindRunning returns the controller that listens at an admin socket. How it was
// started only its user and root may know.
func FindRunning(socket unixsock.Path) (Running, error) {
	pid, uid, err := listener(socket)
	if err != nil {
		return Running{}, err
	}
	r := Running{PID: pid, UID: uid}
	p, err := procfs.NewProc(pid)
	if err != nil {
		return r, fmt.Errorf("looking at process %d: %w", pid, err)
	}
	if name, err := p.Comm(); err != nil || name != controllerName {
		return r, fmt.Errorf("process %d, which listens at %s, is no dfaas-controller", pid, socket)
	}
	words, err := p.CmdLine()
	if err == nil && len(words) == 0 {
		err = errors.New("there is none: it has ended")
	}
	if err != nil {
		return r, fmt.Errorf("reading the command line of process %d: %w", pid, err)
	}
	if r.Environ, err = p.Environ(); err != nil {
		return r, fmt.Errorf("reading the environment of process %d: %w", pid, err)
	}
	if r.Dir, err = os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err != nil {
		return r, fmt.Errorf("reading where process %d works: %w", pid, err)
	}
	for _, word := range words[1:] {
		r.Args = append(r.Args, strings.TrimSpace(word))
	}
	return r, nil
}

// listener returns the process and user that listen at a unix socket.
func listener(socket unixsock.Path) (pid, uid int, _ error) {
	conn, err := socket.Dial(context.Background())
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var who *unix.Ucred
	var failure error
	if err := raw.Control(func(fd uintptr) {
		who, failure = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, 0, err
	}
	if failure != nil {
		return 0, 0, fmt.Errorf("asking who listens at %s: %w", socket, failure)
	}
	return int(who.Pid), int(who.Uid), nil
}
