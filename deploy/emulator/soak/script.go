package soak

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// A script is an endless list of what happens to one node, or of one load, that
// depends on nothing but the seed. When each entry happens depends on the
// machine as well.

// random returns the generator of one script of a run.
func random(seed uint64, script string) *rand.Rand {
	// FNV-1a, so that every script has a stream of its own.
	stream := uint64(14695981039346656037)
	for _, b := range []byte(script) {
		stream = (stream ^ uint64(b)) * 1099511628211
	}
	return rand.New(rand.NewPCG(seed, stream))
}

// between is a time drawn evenly from a range.
func between(r *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(r.Int64N(int64(high-low)+1))
}

// fault is one thing that is done to a node.
type fault struct {
	pause   time.Duration // before it
	do      scenario.Action
	part    scenario.Part // of actions on a part
	lasting time.Duration // of what is undone, until then
	by      time.Duration // of a jump: how far
}

// jump sets the node's clock wrong. What it lasts, the clock stays wrong.
const jump scenario.Action = "clock"

func (f fault) String() string {
	part := string(f.part)
	if f.part == scenario.All {
		part = "the whole node"
	}
	switch f.do {
	case scenario.Partition:
		return fmt.Sprintf("cut off from all others for %.1f s", f.lasting.Seconds())
	case jump:
		return fmt.Sprintf("clock set by %+v for %.1f s", f.by, f.lasting.Seconds())
	}
	if f.lasting == 0 {
		return fmt.Sprintf("%s %s", f.do, part)
	}
	return fmt.Sprintf("%s %s for %.1f s", f.do, part, f.lasting.Seconds())
}

// harmful reports whether requests may break off because of the fault. Nobody may
// lose one because of the others.
func (f fault) harmful() bool {
	return f.part != scenario.SPOA && f.part != scenario.Controller && f.do != scenario.Reload && f.do != jump
}

const (
	// harmfulShare is how many of the faults are harmful: few enough for most
	// requests to have no excuse.
	harmfulShare       = 0.4
	minPause, maxPause = 2 * time.Second, 10 * time.Second
	minAway, maxAway   = 200 * time.Millisecond, 6 * time.Second
	maxJump            = 2 * time.Hour // ahead or behind
)

var (
	harmlessParts = []scenario.Part{scenario.SPOA, scenario.Controller}
	harmfulParts  = []scenario.Part{scenario.HAProxy, scenario.Provider, scenario.All}
)

// nextFault draws the next entry of a node's script.
func nextFault(r *rand.Rand) fault {
	f := fault{pause: between(r, minPause, maxPause)}
	if r.Float64() < harmfulShare {
		k := r.IntN(len(harmfulParts) + 1)
		if k == len(harmfulParts) {
			f.do, f.lasting = scenario.Partition, between(r, minAway, maxAway)
			return f
		}
		f.part = harmfulParts[k]
	} else {
		k := r.IntN(len(harmlessParts) + 2)
		switch k - len(harmlessParts) {
		case 0:
			f.do, f.part = scenario.Reload, scenario.HAProxy
			return f
		case 1:
			f.do, f.lasting = jump, between(r, minAway, maxAway)
			f.by = between(r, -maxJump, maxJump).Truncate(time.Second)
			return f
		}
		f.part = harmlessParts[k]
	}
	f.do = []scenario.Action{scenario.Kill, scenario.Stop, scenario.Restart}[r.IntN(3)]
	if f.do != scenario.Restart {
		f.lasting = between(r, minAway, maxAway)
	}
	return f
}

// phase is one part of a load: a constant rate for a while.
type phase struct {
	pause    time.Duration // before it
	rate     float64       // requests/s
	duration time.Duration
	body     int // bytes of each request
}

const (
	minPhase, maxPhase = 2 * time.Second, 12 * time.Second
	maxRate            = 15.0
	maxBody            = 256 << 10
)

// nextPhase draws the next entry of a load's script. Small bodies are as common
// as large ones.
func nextPhase(r *rand.Rand) phase {
	return phase{
		pause: between(r, 0, 3*time.Second), rate: 1 + r.Float64()*(maxRate-1), duration: between(r, minPhase, maxPhase),
		body: int(math.Exp(r.Float64()*math.Log(maxBody+1))) - 1,
	}
}

// text is a body of that many bytes.
func (p phase) text() string { return strings.Repeat("dfaas ", p.body/6+1)[:p.body] }

// stay is one visit of a guest.
type stay struct {
	pause    time.Duration // before it
	life     time.Duration
	capacity float64
	function string
	polite   bool
}

// nextStay draws the next entry of the visitors' script.
func nextStay(r *rand.Rand) stay {
	return stay{
		pause: between(r, time.Second, 6*time.Second), life: between(r, time.Second, 8*time.Second),
		capacity: 1 + r.Float64()*9, function: functionNames[r.IntN(len(functionNames))], polite: r.IntN(2) == 0,
	}
}
