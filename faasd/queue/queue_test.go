package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"go.etcd.io/bbolt"
)

// patience is how long is waited for what nobody promised a time for.
const patience = 20 * time.Second

// fakeFunctions has functions that take as many calls as there is room for.
type fakeFunctions struct {
	room    int
	execute func(ctx context.Context, c *Call) Result
	policy  Policy
}

func (f *fakeFunctions) Room(_ string, underWay int) bool { return underWay < f.room }
func (f *fakeFunctions) Policy(string) Policy             { return f.policy }
func (f *fakeFunctions) Execute(ctx context.Context, c *Call, _ []byte) Result {
	return f.execute(ctx, c)
}

func openQueue(t *testing.T, path string, f *fakeFunctions, more ...func(*Options)) *Queue {
	t.Helper()
	o := Options{Path: path, Calls: 100, Bytes: 100 << 20, Workers: 4, Executor: f, Log: zerolog.New(zerolog.NewTestWriter(t))}
	for _, change := range more {
		change(&o)
	}
	q, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// run runs the queue until the function that it returns is called.
func run(q *Queue) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		q.Run(ctx, ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}

func callOf(id, source string) Call {
	return Call{ID: id, Function: "f", Target: "/function/f", Source: source}
}

// TestSourcesTakeTurns: who has many calls waiting does not keep others waiting, and
// nobody has all workers.
func TestSourcesTakeTurns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	began, gate := make(chan string, 100), make(chan struct{})
	f := &fakeFunctions{room: 100, policy: DefaultPolicy(), execute: func(_ context.Context, c *Call) Result {
		began <- c.Source
		<-gate
		return Result{Status: 200}
	}}
	q := openQueue(t, path, f)
	for i := range 20 {
		if err := q.Put(callOf(fmt.Sprint("a", i), "a"), nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, source := range []string{"b", "c"} {
		if err := q.Put(callOf(source, source), nil); err != nil {
			t.Fatal(err)
		}
	}
	stop := run(q)
	first := map[string]int{}
	for range 4 {
		first[<-began]++
	}
	if want := map[string]int{"a": 2, "b": 1, "c": 1}; !cmp.Equal(first, want) {
		t.Errorf("first began %v, want %v", first, want)
	}
	close(gate)
	stop()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFinallyGivenUp: a call that ends the program whenever it is begun is not begun
// for ever, and what cannot be read is left alone.
func TestFinallyGivenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	f := &fakeFunctions{room: 1, policy: Policy{Attempts: 3}}
	q := openQueue(t, path, f)
	if err := q.Put(callOf("deadly", "a"), []byte("body")); err != nil {
		t.Fatal(err)
	}
	if err := q.store.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketRecords).Put(key(7), []byte(`{"v":2}`))
	}); err != nil {
		t.Fatal(err)
	}
	begun := 0
	for range 5 {
		r, _, err := q.store.read(1)
		if err != nil { // it has been given up
			break
		}
		if r.Tries++; r.Tries <= 3 { // as execute does before it dies
			begun++
			if err := q.store.change(1, r); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		q = openQueue(t, path, f)
		if r.Tries < 3 {
			continue
		}
		stop := run(q)
		for end := time.Now().Add(patience); q.stats(time.Now()).queued > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("not given up in %v", patience)
			}
		}
		stop()
	}
	if begun != 3 {
		t.Errorf("begun %d times", begun)
	}
	unread, err := q.store.each(func(seq uint64, r *record, _ int64) { t.Errorf("left: %d %+v", seq, r) })
	if err != nil || unread != 1 {
		t.Errorf("%d unread, %v", unread, err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedFile: whatever has become of the file, it is opened or not, read or not, and
// written or not; nothing panics.
func TestDamagedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	q := openQueue(t, path, &fakeFunctions{})
	for i := range 60 {
		if err := q.Put(callOf(fmt.Sprint(i), fmt.Sprint(i)), make([]byte, 3000)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(q.o); err == nil || !strings.Contains(err.Error(), path) { // it is in use
		t.Errorf("opened twice: %v", err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Where in the file what is depends on the library's maps and on the time of day: there
	// are as many rounds as it takes until each kind of damage has been seen.
	random := rand.New(rand.NewPCG(1, 2))
	refused, unread, unwritten, rounds := 0, 0, 0, 0
	seen := func() bool { return refused > 0 && refused < rounds && unread > 0 && unwritten > 0 }
	dir := t.TempDir()
	for ; rounds < 40 || !seen() && rounds < 1000; rounds++ {
		damaged := slices.Clone(whole)
		from := 0
		if rounds%2 == 0 { // the first two pages have sums, the others not
			from = 2 * os.Getpagesize()
		}
		for range 1 + random.IntN(200) {
			damaged[from+random.IntN(len(damaged)-from)] = byte(random.Uint32())
		}
		if rounds%10 == 0 {
			damaged = damaged[:random.IntN(len(damaged))]
		}
		o := q.o
		o.Path = filepath.Join(dir, fmt.Sprint(rounds)) // a file that is damaged may stay locked
		if err := os.WriteFile(o.Path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		o.Log = zerolog.Nop()
		again, err := Open(o)
		if err != nil {
			refused++
			continue
		}
		for _, e := range again.entries {
			if _, _, err := again.store.read(e.seq); err != nil {
				unread++
			}
		}
		var damage error
		for i := 0; i < 20 && damage == nil; i++ {
			damage = again.Put(callOf(fmt.Sprint("new", i), "new"), make([]byte, 3000))
		}
		if damage != nil {
			unwritten++
			for _, text := range []string{o.Path, "damaged", "moved away"} {
				if !strings.Contains(damage.Error(), text) {
					t.Errorf("an error without %q: %v", text, damage)
				}
			}
			if err := again.Put(callOf("last", "last"), nil); !errors.Is(err, ErrDisk) {
				t.Errorf("after %v another call: %v", damage, err)
			}
		}
		_ = again.Close()
	}
	if !seen() {
		t.Errorf("%d of %d refused, %d calls not read, %d files not written", refused, rounds, unread, unwritten)
	}
}

// TestOneFailsAlone: what cannot be written does not keep from the disk what would be
// written with it.
func TestOneFailsAlone(t *testing.T) {
	q := openQueue(t, filepath.Join(t.TempDir(), "queue.db"), &fakeFunctions{})
	bad := errors.New("bad")
	group := []*change{
		{f: func(tx *bbolt.Tx) error { return put(tx, 1, []byte("one"), nil) }},
		{f: func(*bbolt.Tx) error { return bad }},
		{f: func(tx *bbolt.Tx) error { return put(tx, 3, []byte("three"), nil) }},
	}
	q.store.commit(group)
	for i, want := range []error{nil, bad, nil} {
		if !group[i].done || group[i].err != want {
			t.Errorf("change %d: %+v, want %v", i, group[i], want)
		}
	}
	var kept []string
	if err := q.store.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketRecords).ForEach(func(_, text []byte) error {
			kept = append(kept, string(text))
			return nil
		})
	}); err != nil || !slices.Equal(kept, []string{"one", "three"}) {
		t.Errorf("kept %q, %v", kept, err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkPut is what it takes to keep a call, for so many who wait at the same time.
func BenchmarkPut(b *testing.B) {
	for _, callers := range []int{1, 16, 128} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			s, err := openStore(filepath.Join(b.TempDir(), "queue.db"))
			if err != nil {
				b.Fatal(err)
			}
			defer s.close()
			r, body := &record{Call: callOf("id", "source")}, make([]byte, 1000)
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			var group sync.WaitGroup
			for range callers {
				group.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := s.add(r, body); err != nil {
							b.Error(err)
						}
					}
				})
			}
			group.Wait()
		})
	}
}

// TestManyAtOnce: concurrent calls are all kept, and each is executed once.
func TestManyAtOnce(t *testing.T) {
	var mu sync.Mutex
	executed := map[string]int{}
	all := make(chan struct{})
	f := &fakeFunctions{room: 100, policy: DefaultPolicy(), execute: func(_ context.Context, c *Call) Result {
		mu.Lock()
		defer mu.Unlock()
		if executed[c.ID]++; len(executed) == 50 {
			close(all)
		}
		return Result{Status: 200}
	}}
	q := openQueue(t, filepath.Join(t.TempDir(), "queue.db"), f)
	stop := run(q)
	var put sync.WaitGroup
	for i := range 50 {
		put.Go(func() {
			if err := q.Put(callOf(fmt.Sprint(i), fmt.Sprint(i%10)), []byte("x")); err != nil {
				t.Error(err)
			}
		})
	}
	put.Wait()
	<-all
	stop()
	for id, n := range executed {
		if n != 1 {
			t.Errorf("%s was executed %d times", id, n)
		}
	}
	if s := q.stats(time.Now()); s != (stats{}) || len(q.usage.of) != 0 {
		t.Errorf("left: %+v %v", s, q.usage)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestShare(t *testing.T) {
	u := newUsage(10, 1000)
	take := func(source string, calls int, size int64) (taken int, last error) {
		for range calls {
			if last = u.check(source, size); last != nil {
				return taken, last
			}
			u.change(source, amount{calls: 1, bytes: size})
			taken++
		}
		return taken, nil
	}
	for _, test := range []struct {
		source string
		size   int64
		want   int
		err    error
	}{{"a", 1, 5, ErrShare}, {"b", 1, 3, ErrShare}, {"c", 1, 1, ErrShare}, {"d", 1, 1, ErrFull}, {"e", 1, 0, ErrFull}} {
		if n, err := take(test.source, 20, test.size); n != test.want || err != test.err {
			t.Errorf("%s: %d, %v", test.source, n, err)
		}
	}
	u = newUsage(1000, 1000)
	if n, err := take("a", 20, 100); n != 5 || err != ErrShare {
		t.Errorf("bytes: %d, %v", n, err)
	}
	if err := u.check("b", 501); err != ErrFull {
		t.Error(err)
	}
	if err := u.check("b", 500); err != nil {
		t.Error(err)
	}
	// Whose results nobody fetches is not called any more, and nobody else once all
	// is taken.
	u.change("a", amount{bytes: 300, results: 600})
	if !u.crowded("a") || u.crowded("b") {
		t.Error("a's results")
	}
	u.change("a", amount{bytes: 300, results: 300})
	if !u.crowded("b") {
		t.Error("all is taken")
	}
}

func TestPolicy(t *testing.T) {
	with := func(change func(*Policy)) Policy {
		p := DefaultPolicy()
		change(&p)
		return p
	}
	for text, want := range map[string]Policy{
		"": DefaultPolicy(),
		"com.openfaas.retry.attempts=30 com.openfaas.retry.codes=429 com.openfaas.retry.min_wait=5s com.openfaas.retry.max_wait=1m": {
			Attempts: 30, Codes: []int{429}, MinWait: 5 * time.Second, MaxWait: time.Minute},
		"com.openfaas.retry.attempts=0":       with(func(p *Policy) { p.Attempts = 1 }),
		"com.openfaas.retry.codes=500,,503":   DefaultPolicy(),
		"com.openfaas.retry.codes=99":         DefaultPolicy(),
		"com.openfaas.retry.attempts=1001":    DefaultPolicy(),
		"com.openfaas.retry.attempts=-1":      DefaultPolicy(),
		"com.openfaas.retry.min_wait=-1s":     DefaultPolicy(),
		"com.openfaas.retry.max_wait=2h":      DefaultPolicy(),
		"com.openfaas.retry.max_wait=nothing": DefaultPolicy(),
	} {
		annotations := map[string]string{}
		for _, word := range strings.Fields(text) {
			name, value, _ := strings.Cut(word, "=")
			annotations[name] = value
		}
		if diff := cmp.Diff(want, ParsePolicy(annotations)); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
	p := DefaultPolicy()
	for tries, want := range map[int]time.Duration{1: 10 * time.Second, 2: 20 * time.Second, 4: 80 * time.Second, 5: 2 * time.Minute, 9: 2 * time.Minute} {
		if wait, again := p.again(Result{Status: 500}, tries); !again || wait != want {
			t.Errorf("after %d tries: %v %v", tries, wait, again)
		}
	}
	for _, test := range []struct {
		r     Result
		tries int
		want  bool
	}{
		{Result{Status: 500}, 10, false}, {Result{Status: 200}, 1, false}, {Result{Status: 503}, 1, false},
		{Result{Status: 503, Busy: true}, 1, true}, {Result{Status: 404}, 1, false}, {Result{Status: 503, Busy: true}, 10, false},
	} {
		if _, again := p.again(test.r, test.tries); again != test.want {
			t.Errorf("%+v after %d tries: %v", test.r, test.tries, again)
		}
	}
}

func TestPublic(t *testing.T) {
	for text, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true, "::ffff:8.8.8.8": true,
		"0.0.0.0": false, "10.0.0.1": false, "127.0.0.1": false, "127.9.9.9": false, "169.254.169.254": false, "172.16.0.1": false,
		"172.31.255.255": false, "192.168.1.1": false, "100.64.0.1": false, "224.0.0.1": false, "255.255.255.255": false, "192.0.2.1": false,
		"::": false, "::1": false, "::ffff:127.0.0.1": false, "::127.0.0.1": false, "fe80::1": false, "fe80::1%eth0": false, "fc00::1": false,
		"fd00:ec2::254": false, "ff02::1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false, "2001:0:7f00:1::": false, "2001:db8::1": false,
	} {
		if got := public(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	m := newMessenger(nil)
	if _, err := m.dial(t.Context(), "tcp", "127.0.0.1:1"); !errors.Is(err, errAddress) {
		t.Errorf("loopback: %v", err)
	}
}

// FuzzDecode: what is read as a call is written again as the same one, and within
// the bounds.
func FuzzDecode(f *testing.F) {
	r := &record{Call: callOf("id", "192.0.2.1"), Tries: 2}
	r.Target, r.Callback, r.Header = "/function/f?\xff", "https://example.com/", Header{"X-Odd": {"caf\xe9", "two"}}
	r.Result = &Result{Status: 200, Header: Header{"Content-Type": {"text/plain"}}, Duration: time.Second}
	seed, err := r.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{"v":1,"function":"f","target":"L3g="}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := decode(text)
		if err != nil {
			return
		}
		again, err := r.encode()
		if err != nil {
			if errors.Is(err, ErrTooLarge) { // escaped, it is longer
				return
			}
			if strings.Contains(err.Error(), "encode a call") { // a year that RFC 3339 cannot write does not come from this program
				return
			}
			t.Fatalf("%q is not written again: %v", text, err)
		}
		same, err := decode(again)
		if err != nil || string(same.Target) != string(r.Target) || same.Function != r.Function || same.Callback != r.Callback {
			t.Errorf("%q becomes %q: %v", text, again, err)
		}
	})
}

// FuzzCallback: what is accepted is an http URL of a host, and nothing of it makes a
// header field.
func FuzzCallback(f *testing.F) {
	for _, seed := range []string{"http://example.com", "https://[::1]:8080/x?y", "http://a b/", "http://x:99999/", "//x", "http://x\r\nA: b", "http:x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if CheckCallback(text) != nil {
			return
		}
		r, err := http.NewRequest("POST", text, nil)
		if err != nil || r.URL.Host == "" || r.URL.Scheme != "http" && r.URL.Scheme != "https" || r.URL.User != nil || strings.ContainsAny(text, "\r\n ") {
			t.Errorf("%q is accepted: %v", text, err)
		}
	})
}
