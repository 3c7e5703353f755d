package simulator

import (
	"net/http"
	"regexp"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/spoa/route"
)

// claim is what calls bring that say that they come from a peer.
type claim struct {
	node, token string
	possible    bool // HAProxy does not refuse it by itself
}

// What HAProxy takes for a claim that may be true (haproxy/dfaas.cfg).
var (
	mayBePeer  = regexp.MustCompile(`^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$`)
	mayBeToken = regexp.MustCompile(`^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`)
)

// claimOf is what a load's calls claim; nil if they are those of users. With TLS between
// peers, whoever comes without a peer's certificate is none.
func claimOf(l *scenario.Load, peerTLS bool) *claim {
	header := make(http.Header)
	for name, value := range l.Headers {
		header.Set(name, value)
	}
	if header.Values("DFaaS-Node-ID") == nil {
		return nil
	}
	c := &claim{node: header.Get("DFaaS-Node-ID"), token: header.Get("DFaaS-Token")}
	c.possible = mayBePeer.MatchString(c.node) && mayBeToken.MatchString(c.token) && !peerTLS
	return c
}

// judge decides on a call that claims to come from a peer.
func (w *world) judge(id int32, of *claim) {
	c := &w.calls[id]
	d := decision{status: http.StatusForbidden}
	if of.possible {
		answered, waited := w.ask(int(c.node))
		if !answered {
			w.unasked(id, int(c.node), waited)
			return
		}
		if n, ok := w.nodes[c.node].(authenticator); ok {
			d = n.claimed(w.now, int(c.fn), of)
		}
	}
	w.follow(id, d)
}

// authenticator is a node that finds out whether a call comes from the peer that it names.
type authenticator interface {
	claimed(now time.Duration, fn int, c *claim) decision
}

func (p *production) claimed(now time.Duration, fn int, c *claim) decision {
	return p.decisionOf(p.router.Route(epoch.Add(now), route.Request{
		Path: "/function/" + p.world.names[fn].String(), Claimed: true, Node: c.node, Token: c.token,
	}))
}
