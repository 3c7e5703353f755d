package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dfaas/dfaas/controller/core"
	"github.com/dfaas/dfaas/controller/courier"
	"github.com/dfaas/dfaas/controller/estimate"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/peercert"
)

// HAProxy is the runtime API of the node's HAProxy. Calls end with their
// context.
type HAProxy interface {
	Servers(ctx context.Context, backend string) ([]haproxy.Server, error)
	// Look reads the peers' servers, and what became of calls at this node's gateway.
	Look(ctx context.Context) (haproxy.Look, error)
	Apply(ctx context.Context, steps []haproxy.Step) (busy []string, err error)
	// Secure sees to it that the TLS port lets in whom the anchors stand for.
	Secure(ctx context.Context, own peercert.Certificate, anchors []string) error
	// Bound sees to it that users and peers leave connections to the operator's
	// own sites.
	Bound(ctx context.Context) error
	courier.HAProxy
}

// Certificates are those of this node and its peers, for TLS between HAProxies.
type Certificates interface {
	Own(now time.Time) (peercert.Certificate, error)
	// Store returns the anchors of this node and of the peers, in that order, and
	// keeps them where HAProxy finds them when it starts.
	Store(peers []string) ([]string, error)
}

// haproxyPoll is how often HAProxy's servers are looked at. A reload loses them
// all, and they are to be back within a second; a peer that is down is to be out of
// the routes within half of one, with the debounce. Each look wakes two processes.
const haproxyPoll = 400 * time.Millisecond

// boundEvery is after how many looks a reloaded HAProxy is told of its bounds.
const boundEvery = 25

// haproxyEvent is what the loop hears of HAProxy, when it has changed.
type haproxyEvent struct {
	core.HAProxy
	states map[string]haproxy.State // of the same servers
}

// haproxyKeeper keeps the servers of peers in HAProxy as the loop wants them.
// What it remembers is only what is wanted, never what was done: every look
// begins with the servers that are really there. It has a goroutine of its own,
// so that an HAProxy that hangs holds up nobody.
type haproxyKeeper struct {
	api     HAProxy
	certs   Certificates // nil: peers are reached in plain HTTP
	desired mailbox[[]haproxy.Peer]
	events  chan haproxyEvent

	wanted  []haproxy.Peer
	known   bool                                  // whether wanted was ever said; until then nothing is touched
	gateway estimate.Answers                      // of this node's gateway, as read last
	readFor map[estimate.Offered]estimate.Answers // what peers had answered then
	told    haproxyEvent                          // last event
	bound   error                                 // of the last attempt
}

func newHAProxyKeeper(api HAProxy, certs Certificates) *haproxyKeeper {
	return &haproxyKeeper{api: api, certs: certs, desired: newMailbox[[]haproxy.Peer](), events: make(chan haproxyEvent)}
}

func (k *haproxyKeeper) run(ctx context.Context) {
	ticker := time.NewTicker(haproxyPoll)
	defer ticker.Stop()
	for look := 0; ; look++ {
		found, err := k.sync(ctx)
		e := eventOf(found.Servers)
		if found.Servers != nil { // otherwise HAProxy does not answer
			if look%boundEvery == 0 || k.bound != nil {
				k.bound = k.api.Bound(ctx)
			}
			e.Calls = endedCalls(found.Calls)
			err = errors.Join(err, k.bound, k.readGateway(ctx, e.Answers), callsErr(found.CallsErr))
		}
		e.Gateway, e.Err = k.gateway, err
		k.tell(ctx, e)
		select {
		case <-ctx.Done():
			return
		case k.wanted = <-k.desired:
			k.known = true
		case <-ticker.C:
		}
	}
}

// sync brings the servers closer to what is wanted and returns how they are.
// They may be returned although there was an error.
func (k *haproxyKeeper) sync(ctx context.Context) (haproxy.Look, error) {
	found, err := k.api.Look(ctx)
	if err != nil {
		return haproxy.Look{}, fmt.Errorf("reading the peers' servers: %w", err)
	}
	if !k.known {
		return found, nil
	}
	wanted, insecure := k.secure(ctx)
	steps := haproxy.Reconcile(found.Servers, wanted)
	if len(steps) == 0 {
		return found, insecure
	}
	// A server that still has connections is deleted at a later look.
	if _, err := k.api.Apply(ctx, steps); err != nil {
		return found, errors.Join(insecure, fmt.Errorf("changing the peers' servers: %w", err))
	}
	if found, err = k.api.Look(ctx); err != nil {
		return haproxy.Look{}, fmt.Errorf("reading the peers' servers: %w", err)
	}
	return found, insecure
}

// secure lets the wanted peers in, if they come over TLS, and returns them with
// what their own certificates have to be signed by. Without that there are none:
// with TLS nothing is ever sent in plain HTTP.
func (k *haproxyKeeper) secure(ctx context.Context) ([]haproxy.Peer, error) {
	if k.certs == nil {
		return k.wanted, nil
	}
	ids := make([]string, len(k.wanted))
	for i, p := range k.wanted {
		ids[i] = p.ID
	}
	anchors, err := k.certs.Store(ids)
	if len(anchors) != len(ids)+1 {
		return nil, err
	}
	wanted := slices.Clone(k.wanted)
	for i := range wanted {
		wanted[i].Anchor = anchors[i+1]
	}
	own, ownErr := k.certs.Own(time.Now())
	return wanted, errors.Join(err, ownErr, k.api.Secure(ctx, own, anchors))
}

// readGateway reads what became of requests to the gateway, if peers have answered
// any since the last time: it is for nothing but to judge theirs by.
func (k *haproxyKeeper) readGateway(ctx context.Context, peers map[estimate.Offered]estimate.Answers) error {
	if k.readFor != nil && maps.Equal(k.readFor, peers) {
		return nil
	}
	servers, err := k.api.Servers(ctx, haproxy.BackendLocal)
	if err != nil {
		return fmt.Errorf("reading the gateway's server: %w", err)
	}
	k.gateway, k.readFor = estimate.Answers{}, peers
	for _, s := range servers {
		if s.Name == haproxy.ServerGateway {
			k.gateway = estimate.Answers{Served: s.Good, Lost: s.Lost}
		}
	}
	return nil
}

// endedCalls are those of which it is known what became of them; nil if that could not
// be read.
func endedCalls(counted map[string]haproxy.Calls) map[string]estimate.Calls {
	if counted == nil {
		return nil
	}
	calls := make(map[string]estimate.Calls, len(counted))
	for name, c := range counted {
		calls[name] = estimate.Calls{Ended: max(0, c.Begun-c.UnderWay), Failed: c.Failed}
	}
	return calls
}

func callsErr(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("reading the counters of functions: %w", err)
}

// tell sends an event unless it says what the last one said.
func (k *haproxyKeeper) tell(ctx context.Context, e haproxyEvent) {
	if k.told.same(e) {
		return
	}
	select {
	case k.events <- e:
		k.told = e
	case <-ctx.Done():
	}
}

func (e haproxyEvent) same(other haproxyEvent) bool {
	if (e.Err == nil) != (other.Err == nil) || e.Err != nil && e.Err.Error() != other.Err.Error() {
		return false
	}
	return (e.Servers == nil) == (other.Servers == nil) && maps.Equal(e.Servers, other.Servers) &&
		maps.Equal(e.Answers, other.Answers) && maps.Equal(e.states, other.states) && maps.Equal(e.Calls, other.Calls) && e.Gateway == other.Gateway
}

// eventOf makes an event of what HAProxy says of the peers' servers, nil if they
// could not be read.
func eventOf(peers []haproxy.Server) haproxyEvent {
	var e haproxyEvent
	if peers != nil {
		e.Servers, e.states = make(map[string]core.Server, len(peers)), make(map[string]haproxy.State, len(peers))
		e.Answers = make(map[estimate.Offered]estimate.Answers)
	}
	for _, s := range peers {
		if haproxy.ValidPeerID(s.Name) {
			e.Servers[s.Name], e.states[s.Name] = core.Server{Up: s.State == haproxy.Up}, s.State
			for f, a := range s.Answers {
				e.Answers[estimate.Offered{Peer: s.Name, Function: f.Name, Async: f.Async}] = estimate.Answers{Served: a.Served, Lost: a.Lost, Left: a.Left}
			}
		}
	}
	return e
}
