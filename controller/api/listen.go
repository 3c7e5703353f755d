package api

import (
	"fmt"
	"net"

	"github.com/dfaas/dfaas/internal/unixsock"
)

const socketMode = 0o660

// Listen opens the admin socket, for its owner and group only (0660).
// What a dead controller left behind is removed; the socket of a living one,
// and any other file, is not.
func Listen(path unixsock.Path) (net.Listener, error) {
	ln, err := unixsock.Listen(path, socketMode, "")
	if err != nil {
		return nil, fmt.Errorf("admin_socket: %w", err)
	}
	return ln, nil
}
