package agent

import (
	"io"
	"net"
	"syscall"
	"unsafe"
)

// socket is a connection that reads and writes without telling Go's scheduler
// about each system call. They never block, so there is nothing to tell, and
// telling is not free: after an idle moment, which at some thousand requests a
// second comes before every request, it wakes a second thread that has nothing
// to do. Waiting is left to the runtime as ever.
//
// One goroutine may read while another one writes.
type socket struct {
	net.Conn
	raw syscall.RawConn

	in, out transfer
}

// transfer is the state of a read or a write. It is kept so that neither
// allocates.
type transfer struct {
	call  uintptr // number of the system call
	p     []byte
	n     int
	errno syscall.Errno
	try   func(fd uintptr) bool
}

// newSocket returns conn itself if it is no socket.
func newSocket(conn net.Conn) net.Conn {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return conn
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return conn
	}
	s := &socket{Conn: conn, raw: raw, in: transfer{call: syscall.SYS_READ}, out: transfer{call: syscall.SYS_WRITE}}
	s.in.try, s.out.try = s.in.once, s.out.once
	return s
}

// once makes the system call. It reports false if the socket is not ready.
func (t *transfer) once(fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall(t.call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(t.p))), uintptr(len(t.p)))
		if errno == syscall.EINTR {
			continue
		}
		t.n, t.errno = int(n), errno
		return errno != syscall.EAGAIN
	}
}

// do makes the system call when the socket is ready.
func (t *transfer) do(wait func(func(uintptr) bool) error, p []byte) (int, error) {
	t.p = p
	err := wait(t.try)
	t.p = nil
	switch {
	case err != nil:
		return 0, err
	case t.errno != 0:
		return 0, t.errno
	}
	return t.n, nil
}

func (s *socket) Read(p []byte) (int, error) {
	n, err := s.in.do(s.raw.Read, p)
	if err == nil && n == 0 && len(p) > 0 {
		err = io.EOF
	}
	return n, err
}

func (s *socket) Write(p []byte) (written int, err error) {
	for written < len(p) {
		n, err := s.out.do(s.raw.Write, p[written:])
		if err != nil {
			return written, err
		}
		written += n
	}
	return written, nil
}
