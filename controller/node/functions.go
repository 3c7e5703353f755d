package node

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/spoa/table"
)

// function is what the loop needs to know of a function that the gateway has
// deployed.
type function struct {
	name          string
	capacity      float64 // requests/s, or table.Unlimited
	soft          bool    // nobody wrote the capacity down
	timeoutMillis int64
	warning       string // what is wrong with its labels
}

// deployed turns the gateway's list, sorted by name, into functions. One without a
// maximum rate has the default as a soft one; one whose rate cannot be read is
// served here and kept out of the federation, rather than guessed at.
func deployed(list []faasd.Function, defaultMaxrate float64) []function {
	out := make([]function, 0, len(list))
	for _, f := range list {
		l := f.Labels
		fn := function{name: f.Name, timeoutMillis: l.TimeoutMillis}
		var warnings []string
		switch {
		case l.MaxRateErr != nil:
			fn.capacity = table.Unlimited
			warnings = append(warnings, fmt.Sprintf("%v; served here without limit, not offered to peers", l.MaxRateErr))
		case l.HasMaxRate:
			fn.capacity = l.MaxRate
		default:
			fn.capacity, fn.soft = defaultMaxrate, true
		}
		if l.TimeoutErr != nil {
			warnings = append(warnings, fmt.Sprintf("%v; HAProxy's own timeout is used", l.TimeoutErr))
		}
		fn.warning = strings.Join(warnings, "; ")
		out = append(out, fn)
	}
	return out
}

// explainGateway adds the hint to the commonest reason why there is no list.
func explainGateway(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w; start the gateway, or set the option gateway to where it listens", err)
	}
	return err
}

// gateway is what is known of the gateway's functions.
type gateway struct {
	functions []function // of the last list that was read
	refused   string     // functions that its list had and that were left out, and why
	looked    bool       // there has been an answer or an error
	read      bool       // a list was read at some time
	failures  int        // looks in vain since
}

// gatewayFall is how many looks in vain it takes to believe that the gateway is
// down: a single one may be a gateway that is busy.
const gatewayFall = 2

// up reports whether the functions can be had from the gateway now.
func (g *gateway) up() bool { return g.read && g.failures < gatewayFall }
