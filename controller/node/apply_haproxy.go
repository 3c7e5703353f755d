package node

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/dfaas/dfaas/haproxy"
)

// HAProxy is the runtime API of the node's HAProxy. Calls end with their
// context.
type HAProxy interface {
	Servers(ctx context.Context, backend string) ([]haproxy.Server, error)
	Apply(ctx context.Context, steps []haproxy.Step) (busy []string, err error)
}

// haproxyPoll is how often HAProxy's servers are looked at. A reload loses them
// all, and they are to be back within a second.
const haproxyPoll = 250 * time.Millisecond

// haproxyEvent is what the loop hears of HAProxy, when it has changed.
type haproxyEvent struct {
	servers map[string]haproxy.State // of peers, by peer id; nil if they could not be read
	answers map[string]answers       // of the same
	gateway answers                  // of this node's gateway
	err     error
}

// haproxyKeeper keeps the servers of peers in HAProxy as the loop wants them.
// What it remembers is only what is wanted, never what was done: every look
// begins with the servers that are really there. It has a goroutine of its own,
// so that an HAProxy that hangs holds up nobody.
type haproxyKeeper struct {
	api     HAProxy
	desired mailbox[[]haproxy.Peer]
	events  chan haproxyEvent

	wanted []haproxy.Peer
	known  bool         // whether wanted was ever said; until then nothing is touched
	told   haproxyEvent // last event
}

func newHAProxyKeeper(api HAProxy) *haproxyKeeper {
	return &haproxyKeeper{api: api, desired: newMailbox[[]haproxy.Peer](), events: make(chan haproxyEvent)}
}

func (k *haproxyKeeper) run(ctx context.Context) {
	ticker := time.NewTicker(haproxyPoll)
	defer ticker.Stop()
	for {
		k.tell(ctx, k.sync(ctx))
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
func (k *haproxyKeeper) sync(ctx context.Context) haproxyEvent {
	servers, err := k.api.Servers(ctx, haproxy.BackendPeers)
	if err != nil {
		return haproxyEvent{err: fmt.Errorf("reading the peers' servers: %w", err)}
	}
	local, err := k.api.Servers(ctx, haproxy.BackendLocal)
	if err != nil {
		return haproxyEvent{err: fmt.Errorf("reading the gateway's server: %w", err)}
	}
	e := seen(servers, local)
	if !k.known {
		return e
	}
	steps := haproxy.Reconcile(servers, k.wanted)
	if len(steps) == 0 {
		return e
	}
	// A server that still has connections is deleted at a later look.
	if _, err := k.api.Apply(ctx, steps); err != nil {
		e.err = fmt.Errorf("changing the peers' servers: %w", err)
		return e
	}
	if servers, err = k.api.Servers(ctx, haproxy.BackendPeers); err != nil {
		return haproxyEvent{err: fmt.Errorf("reading the peers' servers: %w", err)}
	}
	return seen(servers, local)
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
	if (e.err == nil) != (other.err == nil) || e.err != nil && e.err.Error() != other.err.Error() {
		return false
	}
	return (e.servers == nil) == (other.servers == nil) && maps.Equal(e.servers, other.servers) &&
		maps.Equal(e.answers, other.answers) && e.gateway == other.gateway
}

// seen is what there is to tell of the peers' servers and of the gateway's.
func seen(peers, local []haproxy.Server) haproxyEvent {
	e := haproxyEvent{servers: make(map[string]haproxy.State, len(peers)), answers: make(map[string]answers, len(peers))}
	for _, s := range peers {
		if haproxy.ValidPeerID(s.Name) {
			e.servers[s.Name], e.answers[s.Name] = s.State, answersOf(s)
		}
	}
	for _, s := range local {
		a := answersOf(s)
		e.gateway.served += a.served
		e.gateway.failed += a.failed
	}
	return e
}
