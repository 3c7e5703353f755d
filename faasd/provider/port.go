package provider

import (
	"fmt"
	"syscall"
)

// reservedPort keeps a TCP port of 127.0.0.1 for a function. The port is bound
// and never listened on: the kernel gives it to nobody who asks for any port,
// and still lets a server bind it that sets SO_REUSEADDR, as practically all do.
// So two functions, of this or another provider, never meet on one port.
type reservedPort struct {
	fd   int
	port int
}

func reservePort() (*reservedPort, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("reserve a port: %w", err)
	}
	port, err := bindAny(fd)
	if err != nil {
		syscall.Close(fd)
		return nil, fmt.Errorf("reserve a port: %w", err)
	}
	return &reservedPort{fd: fd, port: port}, nil
}

func bindAny(fd int) (int, error) {
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, err
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, err
	}
	address, err := syscall.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	inet, ok := address.(*syscall.SockaddrInet4)
	if !ok {
		return 0, fmt.Errorf("unexpected address %T", address)
	}
	return inet.Port, nil
}

func (p *reservedPort) close() { syscall.Close(p.fd) }
