package haproxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/haproxytech/client-native/v5/runtime"
	"github.com/haproxytech/client-native/v5/runtime/options"
	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/agent"
	"github.com/dfaas/dfaas/spoa/grant"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/route"
	"github.com/dfaas/dfaas/spoa/table"
)

// fastNode is a node whose HAProxy need not ask about everything, with a real agent.
type fastNode struct {
	*node
	router *route.Router
}

func startFast(t *testing.T, binary haproxytest.Binary, rate float64, functions ...string) *fastNode {
	t.Helper()
	n := &fastNode{
		node:   startWith(t, haproxytest.Options{Binary: binary, NodeID: idA, Settings: map[string]string{haproxy.EnvFastPath: haproxy.FastPathOn}}),
		router: route.NewRouter(meter.New(time.Now())),
	}
	tab := &table.Table{Version: 1, NodeID: testtable.ID(0), TTLMillis: table.MaxTTL.Milliseconds()}
	for _, name := range append(functions, "probe") {
		tab.Functions = append(tab.Functions, table.Function{Name: testvalue.Name(name), Local: &table.Local{Rate: testvalue.Bound(rate), Share: 1}})
	}
	n.router.Swap(testtable.Valid(t, tab), time.Now())
	l, err := net.Listen("unix", n.SPOA)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = agent.New(n.router, zerolog.Nop()).Serve(ctx, l)
	}()
	t.Cleanup(func() { cancel(); <-done })
	eventually(t, "the agent is asked", func() bool {
		call(t, "GET", "http://"+n.Addr+"/function/probe", nil)
		return n.asked() > 0
	})
	return n
}

// asks calls, and reports whether HAProxy means to ask the agent about it: it does not
// count the call as one that it need not ask about.
func (n *fastNode) asks(t *testing.T, path string, headers ...string) bool {
	t.Helper()
	before := n.countedInAll(t)
	call(t, "GET", "http://"+n.Addr+path, nil, headers...)
	return n.countedInAll(t) == before
}

func (n *fastNode) countedInAll(t *testing.T) (all uint32) {
	t.Helper()
	for _, f := range n.look(t).Functions {
		all += f.Count
	}
	return all
}

// asked is how many calls the agent was asked about.
func (n *fastNode) asked() uint64 {
	t := n.router.Totals()
	asked := t.User.Total() + t.NotFound + t.Open + t.Async.Local + t.Async.Forwarded + t.Async.Refused - n.router.UnaskedCalls()
	for _, denied := range t.Denied {
		asked += denied
	}
	return asked
}

// granted is for how long a grant holds.
const granted = 2 * time.Second

// grant grants so many calls beyond what was counted, for two seconds.
func (n *fastNode) grant(t *testing.T, function string, calls, timeoutMillis uint32) haproxy.Unasked {
	t.Helper()
	counted := n.look(t)
	g := haproxy.Grant{Function: function, TimeoutMillis: timeoutMillis}
	if calls > 0 {
		g.UpTo = counted.Functions[function].Count + calls
	}
	n.give(t, counted, g)
	return counted
}

// servesUnasked grants calls, makes one, and reports whether the agent was not asked about it:
// once more where a busy machine took longer for that than a grant holds.
func (n *fastNode) servesUnasked(t *testing.T, function string, calls uint32) bool {
	t.Helper()
	for range 10 {
		began := time.Now()
		n.grant(t, function, calls, 0)
		if !n.asks(t, "/function/"+function) {
			return true
		}
		if time.Since(began) < granted {
			return false
		}
	}
	return false
}

func (n *fastNode) give(t *testing.T, before haproxy.Unasked, g haproxy.Grant) {
	t.Helper()
	patiently(t, func() error { return n.Client.Grant(t.Context(), before, []haproxy.Grant{g}) })
}

// look is what HAProxy has counted.
func (n *fastNode) look(t *testing.T) (counted haproxy.Unasked) {
	t.Helper()
	patiently(t, func() (err error) {
		counted, err = n.Client.Unasked(t.Context())
		return err
	})
	if !counted.On || counted.Run == "" {
		t.Fatalf("%+v", counted)
	}
	return counted
}

func (n *fastNode) counted(t *testing.T, function string) uint32 {
	t.Helper()
	return n.look(t).Functions[function].Count
}

// set changes a row as no controller does.
func (n *fastNode) set(t *testing.T, command string) {
	t.Helper()
	var r runtime.SingleRuntime
	err := r.Init(n.Socket, 0, 0, options.RuntimeOptions{DoNotCheckRuntimeOnInit: true})
	if err == nil {
		_, err = r.ExecuteRaw(command)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestUnasked: what is granted, and nothing else, is served without a question, counted,
// and answered as if it had been asked about.
func TestUnasked(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		n := startFast(t, binary, 100_000, "f", "hang", "status", "wrap")
		// unasked grants so many calls, calls until they are used up, and checks how many that
		// took. The grant is repeated, for a busy machine may take longer for them than it lasts.
		unasked := func(function, rest string, calls uint32) {
			t.Helper()
			counted := n.look(t)
			g := haproxy.Grant{Function: function, UpTo: counted.Functions[function].Count + calls}
			path := "/function/" + function + rest
			for i := uint32(0); i < calls; {
				began := time.Now()
				n.give(t, counted, g)
				switch {
				case !n.asks(t, path):
					i++
				case time.Since(began) < granted:
					t.Fatalf("%s: the agent was asked about call %d, of which %d were granted", path, i+1, calls)
				}
			}
			n.give(t, counted, g)
			if !n.asks(t, path) {
				t.Errorf("%s: the agent was not asked, and %d were granted", path, calls)
			}
		}
		if !n.asks(t, "/function/f") {
			t.Error("not asked without a grant")
		}
		unasked("f", "/some/path?query", 10)
		if got := n.counted(t, "f"); got != 10 {
			t.Errorf("counted %d, want 10", got)
		}

		// It is counted like any other, and its answer is like any other.
		n.grant(t, "status", 100, 0)
		for _, status := range []int{200, 404, 500} {
			got := call(t, "GET", fmt.Sprintf("http://%s/function/status/%d", n.Addr, status), nil, "DFaaS-Room", "1", "X-Forwarded-For", "192.0.2.1")
			wantReply(t, got, status, n.Addr, idA)
			wantNoClaims(t, n.gateway.lastRequest())
		}
		want := haproxy.Calls{Begun: 3, Failed: 1}
		eventually(t, "calls are counted", func() bool {
			look, err := n.Client.Look(t.Context())
			return err == nil && look.Calls["status"] == want
		})

		// Others are asked about, whatever is granted.
		n.grant(t, "f", 100, 0)
		for _, other := range []struct{ path, header, value string }{
			{"/async-function/f", "X-Other", "1"},
			{"/function/other", "X-Other", "1"},
			{"/function/f.namespace", "X-Other", "1"},
			{"/function/F", "X-Other", "1"},
			{"/function/%66", "X-Other", "1"},
			{"/function/f", haproxy.HeaderNodeID, idB},
			{"/function/f", haproxy.HeaderNodeID, ""},
		} {
			if !n.asks(t, other.path, other.header, other.value) {
				t.Errorf("%+v: the agent was not asked", other)
			}
		}
		if got := call(t, "GET", "http://"+n.Addr+"/function/f", nil, haproxy.HeaderNodeID, idB); got.status != http.StatusForbidden {
			t.Errorf("who claims to be a peer got %d", got.status)
		}

		// The time limit comes with the grant, and goes with it.
		n.grant(t, "hang", 100, 100)
		if got := call(t, "GET", "http://"+n.Addr+"/function/hang", nil); got.status != http.StatusGatewayTimeout {
			t.Errorf("with a time limit: %d, want 504", got.status)
		}
		if n.grant(t, "hang", 100, 0); n.grant(t, "hang", 100, 0).Functions["hang"].TimeoutMillis != 0 {
			t.Error("a time limit stays")
		}

		// A count of 32 bits begins anew.
		n.set(t, "set table be_dfaas_local key wrap data.gpc0 4294967290")
		unasked("wrap", "", 10)
		if got := n.counted(t, "wrap"); got != 4 {
			t.Errorf("counted %d, want 4", got)
		}
		// A row that is gone meanwhile makes no grant of what is left.
		n.set(t, "set table be_dfaas_local key wrap data.gpc0 1000000")
		n.grant(t, "wrap", 10, 0)
		n.set(t, "set table be_dfaas_local key wrap data.gpc0 0")
		if !n.asks(t, "/function/wrap") {
			t.Error("not asked, though nothing is left of the grant")
		}

		// What is taken back, and what is not granted again, is asked about.
		unaskedNow := n.servesUnasked(t, "f", 1000)
		n.grant(t, "f", 0, 0)
		if !unaskedNow || !n.asks(t, "/function/f") {
			t.Errorf("not asked after the grant was taken back, and before: %v", unaskedNow)
		}
		if !n.servesUnasked(t, "f", grant.MaxCalls) {
			t.Error("asked in spite of the largest grant")
		}
		eventually(t, "the grant is forgotten, however often it is used", func() bool { return n.asks(t, "/function/f") })

		// Nor is anything served without a question that cannot be served.
		n.gateway.sick.Store(true)
		eventually(t, "the agent is asked while the gateway is down", func() bool {
			n.grant(t, "f", 1000, 0)
			return n.asks(t, "/function/f")
		})
	})
}

// TestUnaskedOfLongNames: the grant of the longest name that there is holds for no other
// that begins like it.
func TestUnaskedOfLongNames(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		longest := strings.Repeat("f", funcname.MaxLabel) + "." + strings.Repeat("n", funcname.MaxLabel)
		if len(longest) != funcname.MaxLen {
			t.Fatalf("%d bytes, want %d", len(longest), funcname.MaxLen)
		}
		n := startFast(t, binary, 100_000, longest)
		unasked := func() bool {
			n.grant(t, longest, 100, 0)
			return !n.asks(t, "/function/"+longest)
		}
		for _, other := range []string{longest[:len(longest)-1], longest[:len(longest)-1] + "m", longest + "n", longest + strings.Repeat("n", 100)} {
			// Not by what HAProxy counts: it is of the names that there may be. The grant lasts while the other is called.
			eventually(t, "the agent is asked about "+other, func() bool {
				if !unasked() {
					return false
				}
				before := n.asked()
				call(t, "GET", "http://"+n.Addr+"/function/"+other, nil)
				return n.asked() > before && unasked()
			})
		}
	})
}

// TestUnaskedIsCountedExactly has many call at once while the agent grants, as far as its
// bucket allows, and checks that each call was counted once, here or there.
func TestUnaskedIsCountedExactly(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		n := startFast(t, binary, 50_000, "f")
		var before uint64
		eventually(t, "no question is under way", func() bool {
			last := before
			before = n.asked()
			return before == last
		})
		const callers, each = 8, 400
		ctx, cancel := context.WithCancel(t.Context())
		var carrying sync.WaitGroup
		carry := func() error {
			counted, err := n.Client.Unasked(context.WithoutCancel(ctx))
			if err != nil {
				return err
			}
			report := grant.Report{Run: counted.Run, Counted: map[string]uint32{}}
			for name, f := range counted.Functions {
				report.Counted[name] = f.Count
			}
			var grants []haproxy.Grant
			for name, g := range n.router.Unasked(time.Now(), report).Functions {
				grants = append(grants, haproxy.Grant{Function: name, UpTo: counted.Functions[name].Count + g.Calls})
			}
			return n.Client.Grant(context.WithoutCancel(ctx), counted, grants)
		}
		patiently(t, carry)
		carrying.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
				if err := carry(); err != nil && !errors.Is(err, haproxy.ErrTimeout) {
					t.Error(err)
					return
				}
			}
		})
		var calling sync.WaitGroup
		for range callers {
			calling.Go(func() {
				client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
				defer client.CloseIdleConnections()
				for range each {
					response, err := client.Get("http://" + n.Addr + "/function/f")
					if err != nil {
						t.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, response.Body)
					response.Body.Close()
					if response.StatusCode != http.StatusOK {
						t.Errorf("answered %s", response.Status)
					}
				}
			})
		}
		calling.Wait()
		cancel()
		carrying.Wait()
		patiently(t, carry)
		// On a busy machine some questions are not answered in time, and may never be heard:
		// HAProxy counts the calls of which it knows what was decided.
		look, err := n.Client.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		known, unasked, asked := uint64(look.Calls["f"].Begun), n.router.UnaskedCalls(), n.asked()-before
		t.Logf("%d asked about, %d not, by HAProxy %d", asked, unasked, known)
		if asked+unasked < known || asked+unasked > callers*each || unasked < callers*each/2 || uint64(n.counted(t, "f")) != unasked {
			t.Errorf("%d asked about and %d not; HAProxy knows of %d, %d of them not asked about; of %d calls", asked, unasked, known, n.counted(t, "f"), callers*each)
		}
	})
}

// TestUnaskedAfterAReload: everything is asked about until it is granted anew, and the
// counts are those of another run.
func TestUnaskedAfterAReload(t *testing.T) {
	t.Parallel()
	n := startFast(t, haproxytest.Installed, 1000, "f")
	before := n.look(t)
	if !n.servesUnasked(t, "f", 1000) {
		t.Error("asked in spite of a grant")
	}
	n.Reload()
	eventually(t, "the agent is asked", func() bool { return n.asks(t, "/function/f") })
	after := n.look(t)
	if after.Run == before.Run || len(after.Functions) != 0 {
		t.Errorf("after a reload %+v, before it run %s", after, before.Run)
	}
	if !n.servesUnasked(t, "f", 10) {
		t.Error("asked in spite of a grant")
	}
}

// TestUnaskedOff: nothing is served without a question that was not asked for, and what
// an older HAProxy has says so.
func TestUnaskedOff(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		n := startNode(t, binary, idA)
		got, err := n.Client.Unasked(t.Context())
		if diff := cmp.Diff(haproxy.Unasked{}, got); err != nil || diff != "" {
			t.Errorf("%v, differs (-want +got):\n%s", err, diff)
		}
		err = n.Client.Grant(t.Context(), got, []haproxy.Grant{{Function: "f", UpTo: 1}})
		if err == nil || !strings.Contains(err.Error(), haproxy.BackendGranted) {
			t.Errorf("%v, want an error that names %s", err, haproxy.BackendGranted)
		}
		if err := n.Client.Grant(t.Context(), got, []haproxy.Grant{{Function: "f data.gpt0 1", UpTo: 1}}); err == nil {
			t.Error("granted to what is no name")
		}
	})
}
