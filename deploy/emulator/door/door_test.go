package door

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// echo is a server that answers, when all was said, with what was said.
func echo(t *testing.T) Dial {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				text, _ := io.ReadAll(conn)
				_, _ = conn.Write(text)
			}()
		}
	}()
	return func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}
}

func open(t *testing.T, dial Dial) (*Door, *net.TCPConn) {
	t.Helper()
	d, err := Open("127.0.0.1:0", dial)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	conn, err := net.Dial("tcp", d.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return d, conn.(*net.TCPConn)
}

func TestDoor(t *testing.T) {
	_, conn := open(t, echo(t))
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(conn); err != nil || string(text) != "hello" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestNobodyBehind(t *testing.T) {
	_, conn := open(t, func(context.Context) (net.Conn, error) { return nil, errors.New("nobody") })
	if text, err := io.ReadAll(conn); len(text) > 0 {
		t.Errorf("%q, %v", text, err)
	}
}

// TestClose: a door that closes ends what goes through it, and waits for it.
func TestClose(t *testing.T) {
	d, conn := open(t, echo(t))
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	var timeout net.Error
	if _, err := io.ReadAll(conn); errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("the connection goes on")
	}
	if _, err := net.Dial("tcp", d.Address()); err == nil {
		t.Error("it is still open")
	}
	if _, err := Open("127.0.0.1:99999", nil); err == nil {
		t.Error("a port that cannot be is accepted")
	}
}
