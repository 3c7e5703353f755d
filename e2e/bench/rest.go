package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/deploy/emulator/pause"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/machine"
)

// The nodes of the federation that is measured at rest and for its reaction.
const (
	userNode  = "node-1" // its users ask
	ownerNode = "node-2" // has the function that they ask for
	otherNode = "node-3"

	sharedFunction = "shared"
)

// startFederation starts three nodes with four functions each, besides the one
// that only ownerNode has.
func startFederation(ctx context.Context, binaries federation.Binaries, period time.Duration) (*federation.Federation, error) {
	var common []scenario.Function
	for i := range 4 {
		rate := 50.0
		common = append(common, scenario.Function{Name: fmt.Sprintf("common-%d", i), Process: "cat", Maxrate: &rate})
	}
	none := 0.0
	shared := scenario.Function{Name: sharedFunction, Process: "cat", Maxrate: &none}
	return federation.Start(ctx, federation.Options{
		Binaries: binaries, Strategy: "headroom", Period: period, DefaultMaxrate: 100, Log: zerolog.Nop(),
		Nodes: []scenario.Node{
			{Name: userNode, Functions: common},
			{Name: ownerNode, Functions: append(common[:len(common):len(common)], shared)},
			{Name: otherNode, Functions: common},
		},
	})
}

// rest is what a part uses while nobody asks for anything: the node that uses
// most counts.
type rest struct {
	memory int64   // bytes, resident
	cpu    float64 // share of one core
}

// settling is how long a new federation needs to come to rest.
const settling = 5 * time.Second

// atRest watches all parts for a while.
func atRest(ctx context.Context, f *federation.Federation, watch time.Duration) (map[scenario.Part]rest, error) {
	if err := pause.For(ctx, settling); err != nil {
		return nil, err
	}
	before, start := make(map[int]time.Duration), time.Now()
	parts := running(f)
	for _, p := range parts {
		cpu, err := machine.ProcessCPU(p.PID)
		if err != nil {
			return nil, err
		}
		before[p.PID] = cpu
	}
	if err := pause.For(ctx, watch); err != nil {
		return nil, err
	}
	found := make(map[scenario.Part]rest)
	for _, p := range parts {
		cpu, err := machine.ProcessCPU(p.PID)
		if err != nil {
			return nil, err
		}
		memory, err := machine.ResidentMemory(p.PID)
		if err != nil {
			return nil, err
		}
		r := found[p.Part]
		r.cpu = max(r.cpu, float64(cpu-before[p.PID])/float64(time.Since(start)))
		r.memory = max(r.memory, memory)
		found[p.Part] = r
	}
	return found, nil
}

func running(f *federation.Federation) []federation.Part {
	var parts []federation.Part
	for _, n := range f.Nodes() {
		parts = append(parts, n.Parts()...)
	}
	return parts
}
