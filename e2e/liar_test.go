package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dfaas/dfaas/controller/api"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/token"
)

// TestLiars has a member of the federation, with a valid identity and its key,
// claim what is not so, while users of node-1 ask for 50 requests/s of which it
// can serve 10. The other nodes have room for 50.
func TestLiars(t *testing.T) {
	t.Parallel()
	c := start(t, federation.Options{Nodes: nodes(
		[]scenario.Function{echo("funca", 10)},
		[]scenario.Function{echo("funca", 20)},
		[]scenario.Function{echo("funca", 30)},
	)})
	honest, _ := c.goodput(t)
	t.Logf("without a liar %.1f requests/s are served", honest)

	t.Run("InfiniteSpare", func(t *testing.T) {
		l := c.lie(t, refuses, strategy.Offer{Name: testvalue.Name("funca"), Capacity: testvalue.Rate(1e6), Limit: testvalue.Rate(1e6)})
		c.believed(t, l)
		got, _ := c.goodput(t)
		t.Logf("%.1f requests/s are served; the liar got %d", got, l.asked.Load())
		if got < 0.92*honest {
			t.Errorf("%.1f requests/s are served, without the liar %.1f", got, honest)
		}
		if l.asked.Load() < 8 {
			t.Errorf("the liar got %d requests only: this has shown nothing", l.asked.Load())
		}
	})
	// A member that never answers, whose callers all leave before the function's time
	// limit.
	t.Run("Silence", func(t *testing.T) {
		l := c.lie(t, isSilent, strategy.Offer{Name: testvalue.Name("funca"), Capacity: testvalue.Rate(1e6), Limit: testvalue.Rate(1e6)})
		c.believed(t, l)
		c.impatient(t)
		eventually(t, patience, "the silent member draws users", func() error {
			if part := c.drawn(t, l); part < 0.3 || l.asked.Load() == 0 {
				return fmt.Errorf("%.2f of what node-1 forwards", part)
			}
			return nil
		})
		eventually(t, patience, "it draws hardly any", func() error {
			if part := c.drawn(t, l); part > 0.03 {
				return fmt.Errorf("%.2f of what node-1 forwards", part)
			}
			return nil
		})
	})
	t.Run("InfiniteDemand", func(t *testing.T) {
		l := c.lie(t, refuses, strategy.Offer{Name: testvalue.Name("funca"), Absent: true, UserRate: testvalue.Rate(1e6)})
		c.believed(t, l)
		got, early := c.goodput(t)
		t.Logf("%.1f requests/s are served, and in the second second %.1f", got, early)
		if got < 0.92*honest {
			t.Errorf("%.1f requests/s are served, without the liar %.1f", got, honest)
		}
		// Not even before there is evidence: room that the liar does not use is anybody's.
		if early < 0.9*honest {
			t.Errorf("%.1f requests/s were served before there was evidence", early)
		}
	})
	// An honest node in its place would count with 60, as much as the others can
	// serve, beside node-1's 40: it would leave node-1 40 % of the room.
	t.Run("DemandThatFloods", func(t *testing.T) {
		l := c.lie(t, refuses, strategy.Offer{Name: testvalue.Name("funca"), Absent: true, UserRate: testvalue.Rate(1e6)})
		c.believed(t, l)
		l.flood(t, c.two, c.three)
		got, _ := c.goodput(t)
		t.Logf("%.1f requests/s are served; the liar got %d of its own served", got, l.served.Load())
		if least := 10 + 0.85*0.4*(honest-10); got < least {
			t.Errorf("%.1f requests/s are served, beside an honest node it would be %.1f at least", got, least)
		}
		if l.served.Load() < 100 {
			t.Errorf("the liar got %d served only: this has shown nothing", l.served.Load())
		}
	})
	c.quiet(t)
}

// goodput is how many of node-1's 50 requests/s are served when there has been
// time for evidence, and how many in the second second. At any time, node-1 serves
// what it can itself.
func (c *cluster) goodput(t *testing.T) (late, early float64) {
	t.Helper()
	const (
		rate      = 50
		evidence  = 7 * time.Second
		measuring = 6 * time.Second
	)
	s := c.stream(t, c.one, "funca", rate)
	s.progress(t, int64(rate*evidence.Seconds()))
	s.progress(t, int64(rate*measuring.Seconds()))
	here := 0
	for _, sample := range s.stop(t) {
		switch {
		case sample.Status != http.StatusOK || sample.At >= evidence+measuring:
			continue
		case sample.At >= evidence:
			late += 1 / measuring.Seconds()
		case sample.At >= time.Second && sample.At < 2*time.Second:
			early++
		}
		if sample.Node == "node-1" {
			here++
		}
	}
	if least := 0.9 * 10 * (evidence + measuring).Seconds(); float64(here) < least {
		t.Errorf("node-1 served %d requests itself, expected %.0f at least", here, least)
	}
	return late, early
}

// impatient has users of node-1 ask for 50 requests/s until the test ends, each of whom
// waits for 1.3 s.
func (c *cluster) impatient(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var users sync.WaitGroup
	users.Go(func() {
		pace := time.NewTicker(20 * time.Millisecond)
		defer pace.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-pace.C:
			}
			users.Go(func() {
				patient, leave := context.WithTimeout(ctx, 1300*time.Millisecond)
				defer leave()
				_, _ = send(patient, c.one, request{path: "/function/funca"}) // what matters is what node-1 makes of it
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		users.Wait()
	})
}

// drawn is the part of what node-1 forwards of funca that goes to the liar, while all
// have room.
func (c *cluster) drawn(t *testing.T, l *falseMember) float64 {
	t.Helper()
	routes, err := c.one.Admin().Routes(t.Context(), "funca")
	if err != nil {
		t.Fatal(err)
	}
	all, its := 0.0, 0.0
	for _, r := range routes {
		if r.Kind == "out" {
			all += r.Weight
			if r.Peer == l.id.String() {
				its = r.Weight
			}
		}
	}
	return its / max(all, 1e-9)
}

// falseMember is a member that announces what it likes and serves nobody.
type falseMember struct {
	*member
	asked, served atomic.Int64 // requests to it, and of it
}

// refuses and isSilent are what a false member makes of a call.
func refuses(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }

func isSilent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// lie has a new member announce the offer until the test ends. It looks healthy, and
// serves nothing that it is sent.
func (c *cluster) lie(t *testing.T, serve http.HandlerFunc, offer strategy.Offer) *falseMember {
	t.Helper()
	l := &falseMember{member: c.join(t)}
	l.connect(t, c.two)
	l.connect(t, c.three)
	a := wire.Announcement{
		V: wire.Version, Epoch: time.Now().UnixMilli(), HTTP: l.serve(t, serve), Strategy: "headroom",
		PeriodMillis: 1000, Offers: []strategy.Offer{offer},
	}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { l.announce(ctx, t, a) })
	t.Cleanup(func() {
		cancel()
		group.Wait()
		c.forgotten(t, l)
	})
	return l
}

// announce repeats the announcement until the context ends. Then the member falls
// silent, and is forgotten.
func (l *falseMember) announce(ctx context.Context, t *testing.T, a wire.Announcement) {
	beat := time.NewTicker(500 * time.Millisecond)
	defer beat.Stop()
	for ctx.Err() == nil {
		a.Seq++
		a.SentAtMillis = time.Now().UnixMilli()
		data, _, err := wire.Encode(a)
		if err == nil {
			err = l.topic.Publish(ctx, data)
		}
		if err != nil && ctx.Err() == nil {
			t.Errorf("the liar cannot announce: %v", err)
			return
		}
		select {
		case <-ctx.Done():
		case <-beat.C:
		}
	}
}

// serve serves what looks like a healthy node, and everything else as is said.
func (l *falseMember) serve(t *testing.T, serve http.HandlerFunc) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			l.asked.Add(1)
			serve(w, r)
		}
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // ends with Close
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return listener.Addr().String()
}

// believed waits until every node takes the liar for a member to work with.
func (c *cluster) believed(t *testing.T, l *falseMember) {
	t.Helper()
	for _, n := range c.Nodes() {
		eventually(t, patience, n.Name+" would forward to the liar", func() error {
			peers, err := n.Admin().Peers(t.Context())
			if !slices.ContainsFunc(peers, func(p api.Peer) bool {
				return p.ID == l.id.String() && p.State == "alive" && p.Server == string(haproxy.Up)
			}) {
				err = errors.Join(err, fmt.Errorf("peers %+v", peers))
			}
			return err
		})
	}
}

// forgotten waits until no node takes the liar for alive.
func (c *cluster) forgotten(t *testing.T, l *falseMember) {
	t.Helper()
	for _, n := range c.Nodes() {
		eventually(t, patience, n.Name+" forgets the liar", func() error {
			peers, err := n.Admin().Peers(context.WithoutCancel(t.Context()))
			if slices.ContainsFunc(peers, func(p api.Peer) bool { return p.ID == l.id.String() && p.State == "alive" }) {
				err = errors.Join(err, fmt.Errorf("peers %+v", peers))
			}
			return err
		})
	}
}

// flood sends each of the nodes more than it will ever admit, with good tokens,
// until the test ends.
func (l *falseMember) flood(t *testing.T, nodes ...*federation.Node) {
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for _, n := range nodes {
		good, err := token.Mint(l.id.Ed25519(), testvalue.Peer(l.id.String()), testvalue.Peer(n.PeerID), time.Now(), token.MaxLifetime)
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			pace := time.NewTicker(10 * time.Millisecond)
			defer pace.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-pace.C:
				}
				r, err := send(ctx, n, request{path: "/function/funca", header: http.Header{
					"DFaaS-Node-ID": {l.id.String()}, "DFaaS-Token": {good},
				}})
				if err == nil && r.status == http.StatusOK {
					l.served.Add(1)
				}
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		group.Wait()
	})
}
