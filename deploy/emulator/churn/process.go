package churn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
)

// Command is the emulator's command that calls Serve.
const Command = "visitors"

// Serve is a house in a process of its own, as it takes to be somewhere else in a
// network: it reads the Options and then Visits, one after the other, and writes
// an Answer when the guest has left.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	decoder, encoder := json.NewDecoder(in), json.NewEncoder(out)
	var o Options
	if err := decoder.Decode(&o); err != nil {
		return fmt.Errorf("reading what visitors to have: %w", err)
	}
	h, err := Open(o)
	if err != nil {
		return err
	}
	defer h.Close()
	for {
		var v Visit
		err := decoder.Decode(&v)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the next visit: %w", err)
		}
		var a Answer
		if err := h.Receive(ctx, v); err != nil {
			a.Error = err.Error()
		}
		if err := encoder.Encode(a); err != nil {
			return fmt.Errorf("saying that a guest has left: %w", err)
		}
	}
}

// Answer tells what became of a visit.
type Answer struct {
	Error string `json:"error,omitempty"`
}

// Inn is a house in another process, beside a federation's nodes and gone with
// them. It is owned by one goroutine.
type Inn struct {
	in      io.WriteCloser
	out     io.Closer
	answers *json.Decoder
	encoder *json.Encoder
}

// OpenInn starts the emulator's program for visitors of the federation.
func OpenInn(ctx context.Context, f *federation.Federation, emulator string, tls bool, log *os.File) (*Inn, error) {
	command := exec.Command(emulator, Command)
	command.Stderr = log
	in, err := command.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("the members that come and go: %w", err)
	}
	// Of the pipe's end only this program's is closed by the end of the other.
	out, to, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("the members that come and go: %w", err)
	}
	command.Stdout = to
	host, err := f.Beside(Command, command)
	to.Close()
	if err != nil {
		out.Close()
		return nil, fmt.Errorf("the members that come and go: %w", err)
	}
	go func() {
		_ = command.Wait() // how it went is in the answers
	}()
	inn := &Inn{in: in, out: out, answers: json.NewDecoder(out), encoder: json.NewEncoder(in)}
	o, err := OptionsFor(ctx, f, host, tls)
	if err != nil {
		return nil, errors.Join(err, inn.Close())
	}
	if err := inn.encoder.Encode(o); err != nil {
		_ = inn.Close()
		return nil, fmt.Errorf("the members that come and go: %w", err)
	}
	return inn, nil
}

// Receive returns when the guest has left.
func (i *Inn) Receive(v Visit) error {
	if err := i.encoder.Encode(v); err != nil {
		return fmt.Errorf("the members that come and go: %w", err)
	}
	var a Answer
	if err := i.answers.Decode(&a); err != nil {
		return fmt.Errorf("the members that come and go ended: %w", err)
	}
	if a.Error != "" {
		return errors.New(a.Error)
	}
	return nil
}

// Close ends the process.
func (i *Inn) Close() error { return errors.Join(i.in.Close(), i.out.Close()) }
