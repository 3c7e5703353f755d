package doctor

import (
	"fmt"
	"syscall"
	"time"
)

// MaxSkew is how far two nodes' clocks may differ before one would refuse the
// other's tokens, did they not go by what most members' clocks say.
const MaxSkew = 10 * time.Second

// States of adjtimex(2).
const (
	timeError = 5      // TIME_ERROR: the clock is not synchronised
	unsynced  = 0x0040 // STA_UNSYNC
)

// clockFacts is what the kernel says of the clock.
type clockFacts struct {
	err          error
	synchronised bool
}

func gatherClock() clockFacts {
	var timex syscall.Timex // all zero: read, set nothing
	state, err := syscall.Adjtimex(&timex)
	if err != nil {
		return clockFacts{err: fmt.Errorf("reading the clock's state: %w", err)}
	}
	return clockFacts{synchronised: state != timeError && timex.Status&unsynced == 0}
}

func clockChecks() []check {
	return []check{
		{"clock", judgeSync},
		{"clocks of peers", judgeSkew},
	}
}

func judgeSync(f *Facts) Verdict {
	const hint = "timedatectl set-ntp true, or run chrony; tokens go by what most nodes' clocks say"
	switch {
	case f.Clock.err != nil:
		return warn("timedatectl shows whether it is synchronised; in a container, on the host", "not checked: %s", oneLine(f.Clock.err))
	case !f.Clock.synchronised:
		return warn(hint, "not synchronised")
	default:
		return ok("synchronised")
	}
}

func judgeSkew(f *Facts) Verdict {
	compared := 0
	var wrong []string
	for _, p := range f.Controller.peers {
		if p.State != "alive" || p.AgeMillis < 0 {
			continue
		}
		compared++
		if skew := time.Duration(p.ClockSkewMillis) * time.Millisecond; skew.Abs() > MaxSkew {
			wrong = append(wrong, fmt.Sprintf("%s %+.0f s", p.ID, skew.Seconds()))
		}
	}
	switch {
	case compared == 0:
		return skip()
	case compared > 1 && len(wrong) == compared:
		return warn("set this node's clock: timedatectl set-ntp true, or run chrony", "all peers differ from this node: %s", few(wrong))
	case len(wrong) > 0:
		return warn("set the clocks right; until then tokens go by what most of them say", "they differ from this node's: %s", few(wrong))
	default:
		return ok("within %s of this node's", MaxSkew)
	}
}
