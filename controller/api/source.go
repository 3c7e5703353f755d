package api

import (
	"context"
	"errors"
	"fmt"

	"github.com/dfaas/dfaas/spoa/table"
)

// Source is what the server answers from: the controller's loop implements it.
// All methods are called from many goroutines at once. Those without a context
// must not block: they read a published snapshot and do no I/O. The server
// only reads what they return and never changes it, so that a snapshot may be
// handed out as it is.
type Source interface {
	Status() Status
	// Peers lists every peer known, whatever its state; the server sorts.
	Peers() []Peer
	// Functions lists those deployed here or at a peer; the server sorts.
	Functions() []Function
	// Routes lists the current plan of one function, or of all for "".
	// An unknown function has none: nil.
	Routes(function string) []Route
	// Join connects to a member at a multiaddr with /p2p/ID. The address is
	// passed on as it came, only its size is bounded: an error that wraps
	// ErrBadAddress is answered with 400, every other one with 502.
	Join(ctx context.Context, address string) error
}

// ErrBadAddress is wrapped by Source.Join for an address that is not a
// multiaddr with /p2p/ID.
var ErrBadAddress = errors.New("bad address")

// Bounds of a request.
const (
	MaxBody    = 4096             // bytes of POST /v1/join
	MaxAddress = 1024             // bytes of a multiaddr
	MaxName    = table.MaxNameLen // bytes of a function's name
)

// JoinRequest is the body of POST /v1/join.
type JoinRequest struct {
	Address string `json:"address"` // multiaddr with /p2p/ID
}

// Problem is the body of every answer that is not a 2xx. It is the error that
// Client returns for it.
type Problem struct {
	Status  int    `json:"-"` // HTTP status
	Message string `json:"error"`
}

// Error returns what the controller said.
func (p *Problem) Error() string {
	if p.Message == "" {
		return fmt.Sprintf("dfaas-controller answered with status %d", p.Status)
	}
	return p.Message
}
