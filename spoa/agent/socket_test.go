package agent

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// socketPair returns the two ends of a connection, the first of them ours.
func socketPair(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	theirs, err = net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ours = newSocket(conn)
	if _, ok := ours.(*socket); !ok {
		t.Fatalf("a unix connection became a %T", ours)
	}
	for _, c := range []net.Conn{ours, theirs} {
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	return ours, theirs
}

// Both directions at once, and more than the kernel's buffers hold: either side
// has to wait for the other.
func TestSocketCarriesEverything(t *testing.T) {
	ours, theirs := socketPair(t)
	sent := make([]byte, 4<<20)
	_, _ = rand.Read(sent) // never fails
	go func() {
		_, _ = io.Copy(theirs, theirs) // what goes wrong shows at the other end
	}()
	written := make(chan error, 1)
	go func() {
		n, err := ours.Write(sent)
		if err == nil && n != len(sent) {
			err = io.ErrShortWrite
		}
		written <- err
	}()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(ours, got); err != nil {
		t.Fatal(err)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, sent) {
		t.Error("what came back is not what was sent")
	}
}

func TestSocketEnds(t *testing.T) {
	ours, theirs := socketPair(t)
	if _, err := theirs.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	if err := theirs.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(ours); err != nil || string(got) != "last words" {
		t.Errorf("read %q, %v", got, err)
	}
	if n, err := ours.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after the end: %d, %v; want EOF itself", n, err)
	}
	if _, err := ours.Write([]byte("too late")); err == nil {
		t.Error("wrote to a connection that the other side has closed")
	}
	if err := ours.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ours.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read from a closed connection: %v", err)
	}
	if _, err := ours.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("wrote to a closed connection: %v", err)
	}
}

func TestSocketDeadlines(t *testing.T) {
	ours, _ := socketPair(t)
	read := make(chan error, 1)
	go func() {
		_, err := ours.Read(make([]byte, 1))
		read <- err
	}()
	if err := ours.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a read past its deadline: %v", err)
	}
	if err := ours.SetWriteDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := ours.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a write past its deadline: %v", err)
	}
}

// Connections of other kinds, as tests have them, are left as they are.
func TestSocketNeedsASocket(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if got := newSocket(a); got != a {
		t.Errorf("a pipe became a %T", got)
	}
}
