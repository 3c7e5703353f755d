package control_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/agent"
	"github.com/dfaas/dfaas/spoa/control"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/peerid"
	"github.com/dfaas/dfaas/spoa/route"
	"github.com/dfaas/dfaas/spoa/table"
)

// agents are what listens at one control socket, one after the other, and what each was
// sent.
type agents struct {
	t       *testing.T
	socket  string
	control *control.Client

	mu      sync.Mutex
	handler http.Handler
	sent    []string // method and status
	bytes   int      // of the last request
}

// answer is a ResponseWriter that keeps the status.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

func newAgents(t *testing.T) *agents {
	a := &agents{t: t, socket: filepath.Join(t.TempDir(), "s")}
	l, err := net.Listen("unix", a.socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: l, Config: &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if r.Method == http.MethodGet {
			a.handler.ServeHTTP(w, r)
			return
		}
		got := &answer{w, 0}
		body := &counted{ReadCloser: r.Body}
		r.Body = body
		a.handler.ServeHTTP(got, r)
		a.bytes = body.n
		a.sent = append(a.sent, r.Method+" "+http.StatusText(got.status))
	})}}
	srv.Start()
	t.Cleanup(srv.Close)
	a.control = control.New(testvalue.Path(a.socket))
	t.Cleanup(a.control.Close)
	return a
}

type counted struct {
	io.ReadCloser
	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n += n
	return n, err
}

// start lets another agent listen, and has its meter read, as controllers do first.
func (a *agents) start(h http.Handler) {
	a.t.Helper()
	a.mu.Lock()
	a.handler = h
	a.mu.Unlock()
	if _, err := a.control.Meter(a.t.Context()); err != nil {
		a.t.Fatal(err)
	}
}

// newAgent is an agent of today.
func newAgent() (*route.Router, http.Handler) {
	start := time.Now()
	router := route.NewRouter(meter.New(start))
	return router, control.NewServer(router, agent.New(router, zerolog.Nop()), "v1", start, zerolog.Nop()).Handler()
}

// olderAgent is what a released one does: it takes whole tables, and says nothing of them.
func olderAgent() http.Handler {
	_, today := newAgent()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch {
			http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
			return
		}
		answer := httptest.NewRecorder()
		today.ServeHTTP(answer, r)
		w.WriteHeader(answer.Code) // without headers
		_, _ = w.Write(answer.Body.Bytes())
	})
}

// expect asserts what was sent since the last time.
func (a *agents) expect(what ...string) {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Equal(a.sent, what) {
		a.t.Errorf("sent %q, want %q", a.sent, what)
	}
	a.sent = nil
}

// put puts the next table: one of 20 functions is another.
func (a *agents) put(t *table.Table) *table.Table {
	a.t.Helper()
	next := *t
	next.Version++
	next.Functions = slices.Clone(t.Functions)
	f := &next.Functions[int(next.Version)%len(next.Functions)]
	f.Forward = slices.Clone(f.Forward)
	f.Forward[0].Rate = testvalue.Bound(f.Forward[0].Rate.PerSecond() + 1)
	if err := a.control.PutTable(a.t.Context(), &next); err != nil {
		a.t.Fatal(err)
	}
	return &next
}

func ordered(functions, peers int) *table.Table {
	t := testtable.New(functions, peers)
	slices.SortFunc(t.Functions, func(a, b table.Function) int { return strings.Compare(a.Name.String(), b.Name.String()) })
	slices.SortFunc(t.Peers, func(a, b table.Peer) int { return strings.Compare(a.ID.String(), b.ID.String()) })
	for i := range t.Functions { // a whole table has them by peer
		slices.SortFunc(t.Functions[i].Admit, func(a, b table.Admission) int { return strings.Compare(a.Peer.String(), b.Peer.String()) })
	}
	return t
}

const (
	whole   = "PUT No Content"
	partial = "PATCH No Content"
	stale   = "PATCH Precondition Failed"
	unknown = "PATCH Method Not Allowed"
)

// TestDifferences: after a whole table what is other is sent, as long as the agent is the
// same; an agent of any release that takes its place gets whole tables as it needs them.
func TestDifferences(t *testing.T) {
	testvalue.SkipPrevious(t, "it knows no patches")
	a := newAgents(t)
	router, today := newAgent()
	a.start(today)
	tab := a.put(ordered(20, 10))
	a.expect(whole)
	size := a.bytes
	for range 3 {
		tab = a.put(tab)
		tab.Speaks, tab.Needs = table.Newest(), table.Oldest
		if diff := cmp.Diff(tab, router.Status(time.Now()).Table, testvalue.Comparable()); diff != "" {
			t.Fatalf("the agent's table (-want +got):\n%s", diff)
		}
	}
	a.expect(partial, partial, partial)
	if a.bytes > size/5 {
		t.Errorf("%d bytes were sent of one function of 20, %d of all", a.bytes, size)
	}
	same := *tab // to live longer
	same.Version++
	if err := a.control.PutTable(t.Context(), &same); err != nil {
		t.Fatal(err)
	}
	a.expect(partial)
	if st := router.Status(time.Now()); a.bytes > 500 || st.Table.Version != same.Version {
		t.Errorf("%d bytes to say nothing new, version %d", a.bytes, st.Table.Version)
	}

	tab = &same
	_, restarted := newAgent()
	a.start(restarted)
	tab = a.put(a.put(tab))
	a.expect(stale, whole, partial)

	a.start(olderAgent())
	tab = a.put(a.put(a.put(tab)))
	a.expect(unknown, whole, whole, whole)

	_, upgraded := newAgent()
	a.start(upgraded)
	tab = a.put(a.put(tab))
	a.expect(whole, partial)

	// Another controller puts a table meanwhile.
	other := control.New(testvalue.Path(a.socket))
	defer other.Close()
	if _, err := other.Meter(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := other.PutTable(t.Context(), ordered(20, 10)); err != nil {
		t.Fatal(err)
	}
	a.put(a.put(tab))
	a.expect(whole, stale, whole, partial)
	if _, text := request(t, a.socket, "GET", "/metrics", http.NoBody); !strings.Contains(text, `dfaas_spoa_tables_total{form="patch"} 2`) ||
		!strings.Contains(text, `dfaas_spoa_tables_total{form="whole"} 3`) || !strings.Contains(text, `dfaas_spoa_patches_stale_total 1`) {
		t.Error("not counted in the metrics")
	}
}

// TestOlderController: one that knows whole tables only, and nothing of tags.
func TestOlderController(t *testing.T) {
	router, socket, _ := serve(t)
	for version := range uint64(3) {
		tab := ordered(3, 2)
		tab.Version = version + 1
		body, err := table.Encode(tab, int(version)) // of each version
		if err != nil {
			t.Fatal(err)
		}
		if status, text := request(t, socket, "PUT", "/v1/table", strings.NewReader(string(body))); status != http.StatusNoContent {
			t.Fatalf("%d %s", status, text)
		}
		if got := router.Status(time.Now()).Table; got.Version != version+1 || len(got.Functions) != 3 {
			t.Errorf("version %d: table %+v", version, got)
		}
	}
}

// TestRefusedDifferenceIsLogged, and the table comes whole; that an agent is older, or has
// another table, is nothing to speak of.
func TestRefusedDifferenceIsLogged(t *testing.T) {
	testvalue.SkipPrevious(t, "it knows no patches")
	a := newAgents(t)
	_, today := newAgent()
	var log strings.Builder
	a.control.Log = zerolog.New(&log)
	picky := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch {
			http.Error(w, "functions: no such thing", http.StatusBadRequest)
			return
		}
		today.ServeHTTP(w, r)
	})
	a.start(today)
	tab := a.put(ordered(20, 10))
	_, restarted := newAgent()
	a.start(restarted)
	tab = a.put(tab)
	a.start(olderAgent())
	tab = a.put(tab)
	a.expect(whole, stale, whole, unknown, whole)
	if log.Len() > 0 {
		t.Errorf("logged %s", &log)
	}
	a.start(today)
	tab = a.put(tab)
	a.start(picky)
	a.put(tab)
	a.expect(whole, "PATCH Bad Request", whole)
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "functions: no such thing") || !strings.Contains(text, `"status":400`) {
		t.Errorf("logged %q, want why the patch was refused", text)
	}
}

// TestRefusedDifference: what the agent does not want it does not get whole either, and
// the table that it has stays, and stays the base.
func TestRefusedDifference(t *testing.T) {
	testvalue.SkipPrevious(t, "it knows no patches")
	a := newAgents(t)
	router, today := newAgent()
	a.start(today)
	tab := a.put(a.put(ordered(20, 10)))
	a.expect(whole, partial)
	bad := *tab
	bad.Version++
	bad.Functions = slices.Clone(bad.Functions)
	bad.Functions[3].Local = &table.Local{Share: -7}
	if err := a.control.PutTable(t.Context(), &bad); !errors.Is(err, control.ErrRefused) || !strings.Contains(err.Error(), "local: share: -7") {
		t.Errorf("error %v", err)
	}
	a.expect("PATCH Bad Request", "PUT Bad Request")
	if got := router.Status(time.Now()); got.Table.Version != tab.Version || got.Generation != 2 {
		t.Errorf("version %d, generation %d", got.Table.Version, got.Generation)
	}
	a.put(a.put(tab))
	a.expect(whole, partial)
}

// TestUnknownVersion: before an agent has said what it understands it is sent what all do,
// which may leave something out. That is no base.
func TestUnknownVersion(t *testing.T) {
	testvalue.SkipPrevious(t, "it reads and writes tables of version 1 only")
	a := newAgents(t)
	router, today := newAgent()
	a.start(today)
	hasty := control.New(testvalue.Path(a.socket))
	defer hasty.Close()
	tab := ordered(20, 10)
	tab.Functions[0].Elastic = true
	for _, elastic := range []bool{false, true} {
		next := *tab
		if err := hasty.PutTable(t.Context(), &next); err != nil {
			t.Fatal(err)
		}
		if got := router.Status(time.Now()).Table.Functions[0].Elastic; got != elastic {
			t.Errorf("elastic: %v, want %v", got, elastic)
		}
		if _, err := hasty.Meter(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	a.expect(whole, whole)
}

// TestTablesPutAtOnce: whoever comes late sends the whole; the last to be accepted is what
// the agent has.
func TestTablesPutAtOnce(t *testing.T) {
	testvalue.SkipPrevious(t, "it knows no patches")
	a := newAgents(t)
	router, today := newAgent()
	a.start(today)
	tab := a.put(ordered(20, 10))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			next := *tab
			next.Version, next.Functions = uint64(i+10), slices.Clone(tab.Functions)
			next.Functions[i].Async = []peerid.ID{tab.Peers[i].ID}
			for range 5 {
				err := a.control.PutTable(t.Context(), &next)
				for again := 10; errors.Is(err, context.DeadlineExceeded) && again > 0; again-- { // seconds, on a busy machine
					err = a.control.PutTable(t.Context(), &next)
				}
				if err != nil {
					t.Error(err)
				}
			}
			// Whatever others sent before or after: one of the tables, not a mixture.
			got := router.Status(time.Now()).Table
			for j := range got.Functions {
				if is, want := len(got.Functions[j].Async), j == int(got.Version)-10; (is == 1) != want {
					t.Errorf("version %d: function %d has %d takers", got.Version, j, is)
				}
			}
		})
	}
	all.Wait()
}
