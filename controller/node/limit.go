package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/core"
	"github.com/dfaas/dfaas/controller/membership"
)

// nearness is how near something is to as much of it as is kept.
type nearness int

const (
	farFromLimit nearness = iota
	nearLimit             // 80 % and more
	atLimit
)

// bounded is something of which only so much is kept.
type bounded struct {
	unit       string // such as alive
	used, most int
	full       bool
	near, at   string // what the operator is told
}

// limits are what is bounded in this node's state: members, and the table's routes.
type limits [2]nearness

func boundedIn(v *core.View) [len(limits{})]bounded {
	members, routes := v.Members, v.Routes
	return [...]bounded{{
		unit: "alive", used: members.Alive, most: members.Max, full: members.Max > 0 && members.Alive >= members.Max,
		near: fmt.Sprintf("members: %d are alive, and %d is the limit: make two federations before it is reached", members.Alive, members.Max),
		at: fmt.Sprintf("members: %d are alive, which is the limit: others are turned away, and not all nodes keep the same ones; "+
			"make two federations", members.Alive),
	}, {
		unit: "routes", used: routes.Used, most: routes.Max, full: routes.Omitted > 0,
		near: fmt.Sprintf("routes: functions times the peers that have them make %d, and %d is the limit: have fewer functions at fewer nodes, "+
			"or make two federations, before it is reached", routes.Used, routes.Max),
		at: fmt.Sprintf("routes: functions times the peers that have them make more than %d, which is the limit: %d are left out, so calls of some "+
			"functions are neither sent to some peers nor admitted from them; have fewer functions at fewer nodes, or make two federations",
			routes.Max, routes.Omitted),
	}}
}

func (b *bounded) nearness() nearness {
	switch {
	case b.full:
		return atLimit
	case b.most > 0 && 5*b.used >= 4*b.most:
		return nearLimit
	}
	return farFromLimit
}

// warning is what the operator is told, "" for nothing.
func (b *bounded) warning() string {
	return [...]string{farFromLimit: "", nearLimit: b.near, atLimit: b.at}[b.nearness()]
}

// log logs what is nearer to its limit than before, and keeps what is now.
func (l *limits) log(log zerolog.Logger, v *core.View) {
	for i, b := range boundedIn(v) {
		now := b.nearness()
		if now > l[i] {
			log.Warn().Int(b.unit, b.used).Int("limit", b.most).Msg(b.warning())
		}
		// Who comes and goes at the border is no news each time.
		if now > l[i] || 10*b.used < 7*b.most {
			l[i] = now
		}
	}
}

// refusedLately returns whose announcements were refused within the last minute.
func refusedLately(v *core.View) []membership.Refusal {
	return slices.DeleteFunc(slices.Clone(v.Refused), func(r membership.Refusal) bool { return v.At.Sub(r.Last) > time.Minute })
}
