package node

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/dfaas/dfaas/controller/core"
	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/internal/limit"
)

// deployed turns the gateway's list, sorted by name, into functions. One without a
// maximum rate has the default as a soft one; one whose rate cannot be read is
// served here and kept out of the federation, rather than guessed at.
func deployed(list []faasd.Function, defaultMaxrate limit.Rate) []core.Function {
	out := make([]core.Function, 0, len(list))
	for _, f := range list {
		l := f.Labels
		fn := core.Function{Name: f.Name, TimeoutMillis: l.TimeoutMillis, Idle: f.ReadyKnown && f.Ready == 0}
		var warnings []string
		switch {
		case l.MaxRateErr != nil:
			fn.Capacity = limit.Unlimited()
			warnings = append(warnings, fmt.Sprintf("%v; served here without limit, not offered to peers", l.MaxRateErr))
		case l.HasMaxRate:
			fn.Capacity = l.MaxRate.Bound()
		default:
			fn.Capacity, fn.Soft = defaultMaxrate.Bound(), true
		}
		if l.TimeoutErr != nil {
			warnings = append(warnings, fmt.Sprintf("%v; HAProxy's own timeout is used", l.TimeoutErr))
		}
		fn.Warning = strings.Join(warnings, "; ")
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
