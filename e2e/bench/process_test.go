package bench

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/dfaas/dfaas/internal/machine"
)

func TestProcess(t *testing.T) {
	listeners, err := listen(1)
	if err != nil {
		t.Fatal(err)
	}
	address := listeners[0].Addr().String()
	p, err := start(t.TempDir(), program{
		name: "sh", argv: []string{"sh", "-c", "[ -S /proc/self/fd/3 ] && echo hello $WHO; exec sleep 60"},
		env: []string{"WHO=world"}, listeners: listeners,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	if _, err := machine.ProcessCPU(p.pid); err != nil {
		t.Error(err)
	}
	if l, err := net.Listen("tcp", address); err == nil {
		l.Close()
		t.Error("the port that was handed over is free")
	}
	greeted := func(context.Context) error {
		if p.lastWords() != "hello world" {
			return errors.New("not yet")
		}
		return nil
	}
	if err := p.await(t.Context(), greeted); err != nil {
		t.Error(err)
	}
	p.stop()
	if _, err := machine.ProcessCPU(p.pid); err == nil {
		t.Error("it is still there")
	}
}

func TestProcessThatFails(t *testing.T) {
	if _, err := start(t.TempDir(), program{name: "x", argv: []string{"/does/not/exist"}}); err == nil {
		t.Error("a program that does not exist was started")
	}
	p, err := start(t.TempDir(), program{name: "sh", argv: []string{"sh", "-c", "echo out of luck; exit 3"}})
	if err != nil {
		t.Fatal(err)
	}
	err = p.await(t.Context(), func(context.Context) error { return errors.New("never") })
	if err == nil || !strings.Contains(err.Error(), "out of luck") {
		t.Errorf("got %v, want its last words", err)
	}
	p.stop() // of what has ended already

	p, err = start(t.TempDir(), program{name: "sleep", argv: []string{"sleep", "60"}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupted"))
	err = p.await(ctx, func(context.Context) error { return errors.New("never") })
	if err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("got %v, want the cause of the end", err)
	}
}
