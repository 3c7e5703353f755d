package overlay

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestManyNeighboursAtOnce: nodes that start within some seconds, on a network that loses
// packets and delays them, hear each other soon and say little.
func TestManyNeighboursAtOnce(t *testing.T) {
	const (
		starting = 6 * time.Second
		delay    = 20 * time.Millisecond
		step     = 5 * time.Millisecond
		last     = 3 * time.Minute
	)
	type said struct {
		by     int
		at     time.Time
		answer bool
	}
	for _, nodes := range []int{2, 20, 100} {
		for _, loss := range []float64{0, 0.3} {
			random := rand.New(rand.NewPCG(uint64(nodes), 1))
			begin := time.Unix(1000, 0)
			starts := make([]time.Time, nodes)
			all := make([]*mdnsManners, nodes)
			heard := make([]map[int]bool, nodes)
			for i := range starts {
				starts[i] = begin.Add(time.Duration(random.Int64N(int64(starting))))
				heard[i] = map[int]bool{i: true}
			}
			var way []said
			var answers, questions int
			var whole time.Duration
			for now := begin; now.Sub(begin) < last; now = now.Add(step) {
				for len(way) > 0 && !way[0].at.After(now) {
					for i, m := range all {
						switch {
						case m == nil || i == way[0].by || random.Float64() < loss:
						case way[0].answer:
							heard[i][way[0].by] = true
						default:
							m.heard(now, false, true)
						}
					}
					way = way[1:]
				}
				for i := range all {
					if all[i] == nil && !starts[i].After(now) {
						all[i] = newMDNSManners(now)
					}
					if all[i] == nil {
						continue
					}
					ask, answer := all[i].due(now)
					if answer {
						answers++
						way = append(way, said{i, now.Add(delay), true})
					}
					if ask {
						questions++
						way = append(way, said{i, now.Add(delay), false})
					}
				}
				missing := 0
				for _, others := range heard {
					missing += nodes - len(others)
				}
				if missing == 0 && whole == 0 {
					whole = now.Sub(begin)
				}
			}
			t.Logf("%d nodes, loss %.0f %%: whole after %v, %d questions, %d answers", nodes, 100*loss, whole, questions, answers)
			if whole == 0 || whole > starting+10*time.Second && loss == 0 || whole > time.Minute {
				t.Errorf("%d nodes, loss %.0f %%: whole after %v", nodes, 100*loss, whole)
			}
			// Each may answer once a second while others start, and later what few ask: it does not
			// depend on how many they are.
			if most := nodes * 50; answers > most || questions > most {
				t.Errorf("%d nodes, loss %.0f %%: %d answers, at most %d", nodes, 100*loss, answers, most)
			}
		}
	}
}

// Nobody is made to answer more than once a second, or to say what is known.
func TestMannersAgainstAFlood(t *testing.T) {
	begin := time.Unix(1000, 0)
	m := newMDNSManners(begin)
	answers := 0
	const minutes = 5
	for now := begin; now.Sub(begin) < minutes*time.Minute; now = now.Add(5 * time.Millisecond) {
		m.heard(now, false, true)
		if _, answer := m.due(now); answer {
			answers++
		}
		if next := m.next(); next.Sub(now) > 2*mdnsLast {
			t.Fatalf("the next is due in %v", next.Sub(now))
		}
	}
	if most := minutes*60 + mdnsGreetings; answers > most || answers < most*8/10 {
		t.Errorf("%d answers, at most %d", answers, most)
	}
	m = newMDNSManners(begin)
	m.greetings = 0
	m.heard(begin, true, false)
	if _, answer := m.due(begin.Add(mdnsGap)); answer {
		t.Error("what is known is said again")
	}
}

// TestOneSourceTakesHalf: who floods leaves others half of what is read, and however many
// sources there are, no more than so many are remembered.
func TestOneSourceTakesHalf(t *testing.T) {
	source := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }
	sources, now := make(mdnsSources), time.Unix(1000, 0)
	read := func(i int) (packets int) {
		for range 4 * mdnsBurst {
			if sources.allow(now, source(i)) {
				packets++
			}
		}
		return packets
	}
	for i := range 2 {
		if got := read(i); got != mdnsBurst/2 {
			t.Errorf("%d packets of source %d are read at once, want %d", got, i, mdnsBurst/2)
		}
	}
	now = now.Add(time.Second)
	if got := read(0); got != mdnsRate/2 {
		t.Errorf("%d packets are read a second later, want %d", got, mdnsRate/2)
	}
	for i := range 2*maxAuthors + 1 {
		if sources.allow(now, source(i)); len(sources) > maxAuthors {
			t.Fatalf("%d sources are remembered, want %d at most", len(sources), maxAuthors)
		}
	}
}

// TestKnownAnswersSilenceNobody: whoever lists all members keeps them neither from asking
// nor from answering those who ask.
func TestKnownAnswersSilenceNobody(t *testing.T) {
	packet, _ := mdnsQuery(serviceTag("test"))
	plain, _ := mdnsMessage(packet)
	for name, test := range map[string]struct {
		change func(*dns.Msg)
		same   bool
	}{
		"own":         {func(*dns.Msg) {}, true},
		"known":       {func(m *dns.Msg) { m.Answer = []dns.RR{&dns.PTR{Hdr: dns.RR_Header{Ttl: mdnsTTL}, Ptr: "x."}} }, false},
		"more known":  {func(m *dns.Msg) { m.Truncated = true }, false},
		"of services": {func(m *dns.Msg) { m.Question[0].Name = mdnsServices }, false},
		"of one":      {func(m *dns.Msg) { m.Question[0].Name = "x." + m.Question[0].Name }, false},
		"other type":  {func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeTXT }, false},
		"unicast":     {func(m *dns.Msg) { m.Question[0].Qclass |= 1 << 15 }, false},
	} {
		m := *plain.Copy()
		test.change(&m)
		if q, ok := questionIn(m, serviceTag("test"), 1); !ok || q.same != test.same {
			t.Errorf("%s: %v, as one's own %v", name, ok, q.same)
		}
	}
	begin := time.Unix(1000, 0)
	m := newMDNSManners(begin)
	m.greetings = 0
	questions, answers := 0, 0
	for now := begin; now.Sub(begin) < 5*time.Minute; now = now.Add(10 * time.Millisecond) {
		m.heard(now, true, false)
		ask, answer := m.due(now)
		if answer {
			answers++
		}
		if ask {
			questions++
			m.heard(now, false, true) // another member asks, too
		}
	}
	if questions < 5 || answers < questions-1 {
		t.Errorf("asked %d times, answered %d", questions, answers)
	}
}
