package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/core"
	"github.com/dfaas/dfaas/controller/membership"
)

// limit is how near the federation is to as many members as are kept.
type limit int

const (
	farFromLimit limit = iota
	nearLimit          // 80 % and more
	atLimit
)

func limitOf(c membership.Counts) limit {
	switch {
	case c.Max == 0 || 5*c.Alive < 4*c.Max:
		return farFromLimit
	case c.Alive < c.Max:
		return nearLimit
	}
	return atLimit
}

// warning is what the operator is told.
func (l limit) warning(c membership.Counts) string {
	switch l {
	case nearLimit:
		return fmt.Sprintf("members: %d are alive, and %d is the limit: make two federations before it is reached", c.Alive, c.Max)
	case atLimit:
		return fmt.Sprintf("members: %d are alive, which is the limit: others are turned away, and not all nodes keep the same ones; "+
			"make two federations", c.Alive)
	}
	return ""
}

// log logs that the limit is nearer than before, and returns what is now.
func (l limit) log(log zerolog.Logger, c membership.Counts) limit {
	now := limitOf(c)
	if now > l {
		log.Warn().Int("alive", c.Alive).Int("limit", c.Max).Msg(now.warning(c))
	}
	// Who comes and goes at the border is no news each time.
	if now < l && 10*c.Alive >= 7*c.Max {
		return l
	}
	return now
}

// refusedLately returns whose announcements were refused within the last minute.
func refusedLately(v *core.View) []membership.Refusal {
	return slices.DeleteFunc(slices.Clone(v.Refused), func(r membership.Refusal) bool { return v.At.Sub(r.Last) > time.Minute })
}
