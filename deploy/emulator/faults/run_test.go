package faults

import (
	"context"
	"errors"
	"testing"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/deploy/emulator/federation/federationtest"
)

// One cell from end to end: its result has everything that a report needs.
func TestRun(t *testing.T) {
	cells, err := Select([]string{"controller-kill", "partition"})
	if err != nil {
		t.Fatal(err)
	}
	results, err := Run(t.Context(), cells, Options{Binaries: federationtest.Binaries(t), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 2 || results[1].NotRun == "" {
		t.Fatalf("results: %+v", results)
	}
	r := results[0]
	if n := r.Here.errorCount() + r.Others.errorCount() + r.Bystander.errorCount(); n != 0 {
		t.Errorf("%d errors although only the controller died: %+v", n, r)
	}
	if r.Here.Sent == 0 || r.Others.Sent == 0 || r.Bystander.Sent == 0 || len(r.Checks) != 4 || r.FaultSeconds < 2 {
		t.Errorf("not all was measured: %+v", r)
	}
	if r.PlansAfter < 0 || r.PeersAfter < 0 {
		t.Errorf("never normal again: %s", r.Complain)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cells, err := Select([]string{"spoa-stop"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Run(ctx, cells, Options{
		Binaries: federationtest.Binaries(t), Log: zerolog.Nop(), Progress: func(string) { cancel() },
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
}
