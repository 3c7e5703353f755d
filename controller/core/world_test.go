package core

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dfaas/dfaas/controller/estimate"
	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/peerid"
)

// world is what a traced core lives in: a SPOA that counts its users' requests, an
// HAProxy that does as it is told, a gateway, and peers named a, b, c and so on.
type world struct {
	t     *testing.T
	c     *Core
	now   time.Time
	wall  time.Duration
	lines []string
	looks int // at the meter, since the last flush
	plans int
	beats int      // announcements that say what the last one said
	said  string   // with the last announcement
	given []string // the last table

	users     map[string]float64 // requests/s
	counted   map[string]float64
	countedAt time.Time
	hangs     bool
	spoaStart time.Time
	spoaTable uint64
	earlier   []peerid.ID // peers in the table of an earlier run

	servers  map[string]Server // of HAProxy, by peer id
	calls    map[string]estimate.Calls
	answers  map[estimate.Offered]estimate.Answers
	becomes  map[estimate.Offered]estimate.Answers // of calls to peers, each second
	answered time.Time                             // next second
	wanted   []Peer
	restored time.Time // when servers that were lost are back

	peers map[string]*tracedPeer
}

// tracedPeer is a peer, as it announces itself.
type tracedPeer struct {
	name  string
	a     wire.Announcement
	clock time.Duration
	next  time.Time // when it announces itself again; zero: not by itself
}

func newWorld(t *testing.T, words []string) *world {
	o := Options{
		Self: peerID(0), Period: time.Second, HTTP: netip.MustParseAddrPort("127.0.0.100:8180"), DefaultNamespace: "openfaas-fn",
		Members: membership.New(membership.Options{Self: peerID(0), Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}),
		Tokens:  noTokens{}, Seed: 1,
	}
	name := "headroom"
	var earlier []peerid.ID
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		var err error
		switch key {
		case "strategy":
			name = value
		case "period":
			o.Period, err = time.ParseDuration(value)
		case "neighbours":
			o.Neighbours = map[peerid.ID]bool{}
			for _, peer := range strings.Split(value, ",") {
				o.Neighbours[idOf(peer)] = true
			}
		case "earlier":
			for _, peer := range strings.Split(value, ",") {
				earlier = append(earlier, idOf(peer))
			}
		default:
			err = fmt.Errorf("a node has no %q", key)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if o.Strategy, err = strategy.New(name); err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, c: New(o, t0), now: t0, users: map[string]float64{}, counted: map[string]float64{}, countedAt: t0,
		spoaStart: t0, earlier: earlier, servers: map[string]Server{}, peers: map[string]*tracedPeer{},
		answers: map[estimate.Offered]estimate.Answers{}, becomes: map[estimate.Offered]estimate.Answers{},
	}
	w.step(HAProxy{Servers: map[string]Server{}})
	return w
}

// step tells the core of an event, writes down what it does, and has the parts do
// what it asks for.
func (w *world) step(e Event) {
	fx := w.c.Step(w.now, e)
	w.write(fx)
	if fx.ReadMeter {
		w.looks++
	}
	if fx.Planned {
		w.plans++
	}
	if fx.Announce != nil {
		w.step(Announced{})
	}
	if fx.Servers != nil {
		w.wanted = fx.Servers
		w.putServers()
	}
	if fx.Table != nil && !w.hangs {
		w.spoaTable = fx.Table.Version
		w.step(TablePut{})
	}
	if fx.ReadMeter {
		w.readMeter()
	}
}

func (w *world) readMeter() {
	if w.hangs {
		return // an error comes when the time limit has passed; see spoaDoes
	}
	w.count()
	r := &meter.Report{
		StartMillis: w.spoaStart.UnixMilli(), UptimeMicros: w.now.Sub(w.spoaStart).Microseconds(),
		TableVersion: w.spoaTable, TableFresh: w.spoaTable > 0,
	}
	for _, name := range slices.Sorted(maps.Keys(w.counted)) {
		r.Functions = append(r.Functions, meter.Function{Name: name, User: meter.User{Local: uint64(w.counted[name] + 1e-6)}})
	}
	earlier := w.earlier
	w.earlier = nil
	w.step(Metered{Report: r, Earlier: earlier})
}

// count has the SPOA count what users have asked for since the last time.
func (w *world) count() {
	for name, rate := range w.users {
		w.counted[name] += rate * w.now.Sub(w.countedAt).Seconds()
	}
	w.countedAt = w.now
}

// putServers has HAProxy get the servers that it should have.
func (w *world) putServers() {
	servers := make(map[string]Server)
	for _, p := range w.wanted {
		server, there := w.servers[p.ID.String()]
		servers[p.ID.String()] = Server{Up: !there || server.Up}
	}
	w.setServers(servers)
}

func (w *world) setServers(servers map[string]Server) {
	w.servers = servers
	w.step(HAProxy{Servers: maps.Clone(servers), Answers: maps.Clone(w.answers), Calls: maps.Clone(w.calls)})
}

// answer has HAProxy count what became of a second's calls to peers.
func (w *world) answer() {
	w.answered = w.answered.Add(time.Second)
	for o, a := range w.becomes {
		w.answers[o] = w.answers[o].Plus(a)
	}
	w.setServers(w.servers)
}

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	for end := w.now.Add(d); ; {
		next, happen := w.c.Next(), func() { w.step(Tick{}) }
		if !w.restored.IsZero() && w.restored.Before(next) {
			next, happen = w.restored, func() { w.restored = time.Time{}; w.putServers() }
		}
		if len(w.becomes) > 0 && w.answered.Before(next) {
			next, happen = w.answered, w.answer
		}
		for _, name := range slices.Sorted(maps.Keys(w.peers)) {
			if p := w.peers[name]; !p.next.IsZero() && p.next.Before(next) {
				next, happen = p.next, func() { p.next = p.next.Add(time.Second); w.announce(p) }
			}
		}
		if next.IsZero() || next.After(end) {
			w.now = end
			return
		}
		w.now = later(w.now, next)
		happen()
	}
}

// starve lets time pass in which this process hardly runs: it looks up once in so long, and
// hears nothing.
func (w *world) starve(d, once time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(once)
		w.step(Tick{})
	}
}

func (w *world) announce(p *tracedPeer) {
	p.a.Seq++
	a := p.a
	a.SentAtMillis = w.now.Add(p.clock).UnixMilli()
	w.step(Heard{From: idOf(p.name), Announcement: a, Via: membership.Via{Direct: true}})
}

// idOf is that of a peer: the first one, a, has the identity 1.
func idOf(name string) peerid.ID { return testtable.ID(int(name[0]-'a') + 1) }

// name is that of a peer id.
func (w *world) name(id string) string {
	for name := range w.peers {
		if idOf(name).String() == id {
			return name
		}
	}
	return id
}

func (w *world) setUsers(words []string) error {
	w.count()
	rates, err := rates(words)
	w.users = rates
	return err
}

func (w *world) spoaDoes(what string) error {
	switch what {
	case "hangs":
		w.hangs = true
	case "works":
		w.hangs = false
	case "fails":
		w.step(Metered{Err: errors.New("reading the SPOA's counters: timed out")})
	case "restarts":
		w.spoaStart, w.countedAt, w.spoaTable = w.now, w.now, 0
		clear(w.counted)
	default:
		return fmt.Errorf("no SPOA %s", what)
	}
	return nil
}

func (w *world) haproxyDoes(words []string) error {
	switch words[0] {
	case "reloads":
		w.restored = w.now.Add(400 * time.Millisecond)
		w.setServers(map[string]Server{})
	case "counts": // haproxy counts cat=10 failed=3
		counts, err := rates(words[1:])
		if err != nil {
			return err
		}
		failed := counts["failed"]
		delete(counts, "failed")
		if w.calls == nil {
			w.calls = make(map[string]estimate.Calls)
		}
		for name, n := range counts {
			total := w.calls[name]
			w.calls[name] = estimate.Calls{Ended: total.Ended + int64(n), Failed: total.Failed + int64(failed)}
		}
		w.setServers(w.servers)
	case "sends":
		return w.sends(words[1], words[2:])
	case "down", "up":
		servers := maps.Clone(w.servers)
		servers[idOf(words[1]).String()] = Server{Up: words[0] == "up"}
		w.setServers(servers)
	default:
		return fmt.Errorf("no HAProxy %s", words[0])
	}
	return nil
}

func (w *world) sends(peer string, words []string) error {
	if len(w.becomes) == 0 {
		w.answered = w.now.Add(time.Second / 2)
	}
	for _, word := range words {
		name, counts, _ := strings.Cut(word, "=")
		name, async := strings.CutSuffix(name, ",async")
		var a estimate.Answers
		for _, count := range strings.Split(counts, ",") {
			outcome, text, _ := strings.Cut(count, ":")
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return err
			}
			switch outcome {
			case "served":
				a.Served = n
			case "lost":
				a.Lost = n
			case "left":
				a.Left = n
			default:
				return fmt.Errorf("no call is %s", outcome)
			}
		}
		w.becomes[estimate.Offered{Peer: idOf(peer).String(), Function: name, Async: async}] = a
	}
	return nil
}

func (w *world) gatewayDoes(words []string) error {
	if words[0] == "fails" {
		w.step(Gateway{Err: errors.New("connection refused")})
		return nil
	}
	idle := make(map[string]bool)
	words = slices.Clone(words)
	before := len(words)
	words = slices.DeleteFunc(words, func(word string) bool { return word == "async" })
	async := len(words) < before
	for i, word := range words {
		if name, found := strings.CutSuffix(word, ",idle"); found {
			words[i] = name
			name, _, _ = strings.Cut(name, "=")
			idle[name] = true
		}
	}
	capacities, err := rates(words)
	var functions []Function
	for _, name := range slices.Sorted(maps.Keys(capacities)) {
		functions = append(functions, Function{Name: testvalue.Name(name), Capacity: testvalue.Bound(capacities[name]), Idle: idle[name]})
	}
	w.step(Gateway{Functions: functions, Async: async})
	return err
}

func (w *world) peerDoes(name string, words []string) error {
	if len(name) != 1 || len(words) == 0 {
		return errors.New("nobody knows what this is")
	}
	p := w.peers[name]
	if p == nil {
		p = &tracedPeer{name: name, a: wire.Announcement{
			V: 1, Epoch: 1, HTTP: fmt.Sprintf("127.0.0.%d:8180", int(name[0]-'a')+1), Strategy: "headroom", PeriodMillis: 1000,
		}}
		w.peers[name] = p
	}
	switch words[0] {
	case "announces":
		if err := p.say(words[1:]); err != nil {
			return err
		}
		w.announce(p)
	case "is": // there with
		p.next = w.now
		if len(words) > 3 {
			return p.say(words[3:])
		}
	case "falls": // silent
		p.next = time.Time{}
	case "leaves":
		p.next = time.Time{}
		offers := p.a.Offers
		p.a.Leaving, p.a.Offers = true, nil
		w.announce(p)
		p.a.Leaving, p.a.Offers = false, offers
	default:
		return fmt.Errorf("no peer %s", words[0])
	}
	return nil
}

// say sets what a peer announces.
func (p *tracedPeer) say(words []string) (err error) {
	offers := make(map[string]strategy.Offer)
	p.a.Async = false
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "async":
			p.a.V, p.a.Async = 2, true
		case "at":
			p.a.HTTP = value + ":8180"
		case "clock":
			p.clock, err = time.ParseDuration(value)
		case "epoch":
			p.a.Epoch, err = strconv.ParseInt(value, 10, 64)
			p.a.Seq = 0
		case "seq":
			p.a.Seq, err = strconv.ParseUint(value, 10, 64)
			p.a.Seq--
		case "users":
			var users map[string]float64
			users, err = rates([]string{value})
			for name, rate := range users {
				o := offers[name]
				o.Name, o.UserRate = testvalue.Name(name), testvalue.Rate(rate)
				offers[name] = o
			}
		default:
			o := offers[key]
			o.Name = testvalue.Name(key)
			value, o.Backup = strings.CutSuffix(value, ",backup")
			var capacity float64
			capacity, err = strconv.ParseFloat(value, 64)
			o.Capacity = testvalue.Rate(capacity)
			offers[key] = o
		}
		if err != nil {
			return err
		}
	}
	if len(offers) == 0 {
		return nil
	}
	p.a.Offers = nil
	for _, name := range slices.Sorted(maps.Keys(offers)) {
		p.a.Offers = append(p.a.Offers, offers[name])
	}
	return nil
}

// rates reads NAME=RATE.
func rates(words []string) (map[string]float64, error) {
	rates := make(map[string]float64)
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		rate, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, err
		}
		rates[name] = rate
	}
	return rates, nil
}
