// Package door leads from an address of this machine into a network that the machine has
// no part in.
package door

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Dial connects to what is behind a door.
type Dial func(ctx context.Context) (net.Conn, error)

// dialTimeout is how long whoever comes may have to wait for the one behind the door.
const dialTimeout = 5 * time.Second

// Door is one that is open.
type Door struct {
	listener net.Listener
	dial     Dial
	cancel   context.CancelFunc
	working  sync.WaitGroup
}

// Open listens at an address for whoever comes, and connects each to where dial leads.
func Open(address string, dial Dial) (*Door, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("opening a way into the network: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	d := &Door{listener: l, dial: dial, cancel: cancel}
	d.working.Go(func() { d.serve(ctx) })
	return d, nil
}

// Address is where the door is.
func (d *Door) Address() string { return d.listener.Addr().String() }

// Close ends all connections and returns when they have ended.
func (d *Door) Close() error {
	d.cancel()
	err := d.listener.Close()
	d.working.Wait()
	return err
}

func (d *Door) serve(ctx context.Context) {
	for {
		conn, err := d.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		} else if err != nil {
			select { // too many open files, which may pass
			case <-ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		d.working.Go(func() { d.pass(ctx, conn) })
	}
}

// pass connects one that has come.
func (d *Door) pass(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	dialing, cancel := context.WithTimeout(ctx, dialTimeout)
	inner, err := d.dial(dialing)
	cancel()
	if err != nil {
		return // whoever came sees the connection end, as if nobody listened
	}
	defer inner.Close()
	stop := context.AfterFunc(ctx, func() {
		conn.Close()
		inner.Close()
	})
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { move(inner, conn) })
	both.Go(func() { move(conn, inner) })
	both.Wait()
}

// move copies what one side says, and that it has ended.
func move(to, from net.Conn) {
	_, err := io.Copy(to, from)
	half, ok := to.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		to.Close()
		from.Close()
	}
}
