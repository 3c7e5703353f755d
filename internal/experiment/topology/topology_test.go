package topology

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func pairs(t *Topology) string {
	words := make([]string, len(t.Edges))
	for i, e := range t.Edges {
		words[i] = fmt.Sprintf("%d-%d", e.A, e.B)
	}
	return strings.Join(words, " ")
}

func made(t *testing.T, s Shape, nodes int) *Topology {
	t.Helper()
	topology, err := s.Topology(nodes)
	if err != nil {
		t.Fatal(err)
	}
	return topology
}

func TestKinds(t *testing.T) {
	for kind, want := range map[Kind]string{
		Star: "0-1 0-2 0-3 0-4 0-5", Line: "0-1 1-2 2-3 3-4 4-5", Ring: "0-1 0-5 1-2 2-3 3-4 4-5", Tree: "0-1 0-2 1-3 1-4 2-5",
		Mesh: "0-1 0-2 0-3 0-4 0-5 1-2 1-3 1-4 1-5 2-3 2-4 2-5 3-4 3-5 4-5",
	} {
		got := made(t, Shape{Kind: kind, Link: Link{Delay: time.Second}}, 6)
		if pairs(got) != want {
			t.Errorf("%s: %s, want %s", kind, pairs(got), want)
		}
		if _, apart := got.Apart(); apart || got.Edges[0].Delay != time.Second || got.Plain() {
			t.Errorf("%s: %+v", kind, got)
		}
	}
	if got := pairs(made(t, Shape{Kind: Ring}, 2)); got != "0-1" {
		t.Errorf("a ring of two: %s", got)
	}
	for _, nodes := range []int{0, 1, MaxNodes + 1} {
		if _, err := (Shape{Kind: Ring}).Topology(nodes); err == nil {
			t.Errorf("%d nodes are accepted", nodes)
		}
	}
}

func TestRandom(t *testing.T) {
	s := Shape{Kind: Random, Prob: 0.3, Seed: 7}
	a, b := made(t, s, 40), made(t, s, 40)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("the same seed, another topology: %s", diff)
	}
	if expected := 0.3 * 40 * 39 / 2; float64(len(a.Edges)) < 0.7*expected || float64(len(a.Edges)) > 1.3*expected+40 {
		t.Errorf("%d links, where %v are to be expected", len(a.Edges), expected)
	}
	s.Seed = 8
	if pairs(made(t, s, 40)) == pairs(a) {
		t.Error("another seed, the same topology")
	}
	for seed := range uint64(50) {
		s.Seed, s.Prob = seed, 0.01
		if n, apart := made(t, s, 30).Apart(); apart {
			t.Errorf("seed %d: node %d cannot be reached", seed, n)
		}
	}
	for _, prob := range []float64{0, -1, 1.1} {
		if _, err := (Shape{Kind: Random, Prob: prob}).Topology(5); err == nil {
			t.Errorf("the probability %v is accepted", prob)
		}
	}
}

func TestRoutes(t *testing.T) {
	ring := made(t, Shape{Kind: Ring, Link: Link{Delay: 10 * time.Millisecond, Loss: 0.1}}, 6)
	r := NewRoutes(ring)
	expect := func(when string, from, to int, want string) {
		t.Helper()
		links, ok := r.Path(from, to)
		at, got := from, fmt.Sprint(from)
		for _, link := range links {
			at = ring.Edges[link].Other(at)
			got += fmt.Sprintf(" %d", at)
		}
		if !ok {
			got = "none"
		}
		if got != want {
			t.Errorf("%s: from %d to %d: %s, want %s", when, from, to, got, want)
		}
		link, reached := r.Link(from, to)
		if reached != ok || ok && link.Delay != time.Duration(len(links))*10*time.Millisecond {
			t.Errorf("%s: from %d to %d: %v, %t", when, from, to, link, reached)
		}
	}
	expect("whole", 0, 2, "0 1 2")
	expect("whole", 2, 0, "2 1 0")
	expect("whole", 5, 1, "5 0 1")
	expect("whole", 3, 3, "3")
	link, _ := ring.Find(1, 0)
	r.SetDown(link, true)
	expect("down", 0, 2, "0 5 4 3 2")
	expect("down", 0, 1, "0 5 4 3 2 1")
	if got, _ := r.Link(0, 1); got.Loss < 0.409 || got.Loss > 0.41 { // 1 - 0.9^5
		t.Errorf("loss on five links: %v", got.Loss)
	}
	r.SetSide(4, 1)
	expect("down and parted", 0, 1, "none")
	expect("down and parted", 0, 5, "0 5")
	r.SetSide(5, 1)
	expect("two parted", 4, 5, "4 5")
	expect("two parted", 5, 0, "none")
	r.SetDown(link, false)
	r.SetSide(4, 0)
	r.SetSide(5, 0)
	expect("healed", 0, 2, "0 1 2")
}

// TestRoutesByDelay: of ways with as many links, the one with less delay is taken; in a
// mesh, none but the direct one.
func TestRoutesByDelay(t *testing.T) {
	square, err := Of(4, []Edge{{0, 1, Link{Delay: 9}}, {1, 3, Link{Delay: 9}}, {3, 2, Link{Delay: 1}}, {2, 0, Link{Delay: 10}}})
	if err != nil {
		t.Fatal(err)
	}
	if link, _ := NewRoutes(square).Link(0, 3); link.Delay != 11 {
		t.Errorf("delay %d, want 11", link.Delay)
	}
	mesh := made(t, Shape{Kind: Mesh}, 3)
	r := NewRoutes(mesh)
	link, _ := mesh.Find(0, 2)
	mesh.Edges[link].Delay = 5
	r.Changed()
	if got, ok := r.Link(0, 2); got.Delay != 5 || !ok {
		t.Errorf("in a mesh: %v, %t", got, ok)
	}
	r.SetDown(link, true)
	if _, ok := r.Link(0, 2); ok {
		t.Error("in a mesh, what goes around a link that is down is seen at the other end")
	}
	if _, ok := r.Path(2, 0); ok {
		t.Error("in a mesh, there is a way around a link that is down")
	}
	if path, ok := r.Path(0, 1); !ok || len(path) != 1 {
		t.Errorf("in a mesh: %v, %t", path, ok)
	}
}

func TestNeighbours(t *testing.T) {
	if diff := cmp.Diff([]int{0, 3, 4}, made(t, Shape{Kind: Tree}, 7).Neighbours(1)); diff != "" {
		t.Error(diff)
	}
}

func TestOfRefuses(t *testing.T) {
	for name, edges := range map[string][]Edge{"itself": {{A: 1, B: 1}}, "nobody": {{A: 0, B: 3}}, "twice": {{A: 0, B: 1}, {A: 1, B: 0}}} {
		if _, err := Of(3, edges); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	apart, err := Of(4, []Edge{{A: 0, B: 1}, {A: 2, B: 3}})
	if err != nil {
		t.Fatal(err)
	}
	if n, is := apart.Apart(); !is || n != 2 {
		t.Errorf("%d, %t", n, is)
	}
}

func TestLinkText(t *testing.T) {
	var l Link
	for _, word := range []string{"delay=20ms", "jitter=1.5ms", "rate=100mbit", "loss=0.5%"} {
		name, text, _ := strings.Cut(word, "=")
		if err := l.Set(name, text); err != nil {
			t.Fatal(err)
		}
	}
	if want := (Link{20 * time.Millisecond, 1500 * time.Microsecond, 100e6, 0.005}); l != want {
		t.Errorf("%+v, want %+v", l, want)
	}
	if got := l.String(); got != "delay=20ms jitter=1.5ms rate=100mbit loss=0.5%" {
		t.Errorf("written %q", got)
	}
	for _, word := range []string{
		"delay=5", "delay=-1ms", "delay=11s", "rate=100", "rate=1kbit", "rate=200gbit", "rate=nanbit", "rate=mbit", "loss=101%", "loss=-1%", "loss=some",
		"loss=NaN", "mtu=9000",
	} {
		name, text, _ := strings.Cut(word, "=")
		if err := l.Set(name, text); err == nil {
			t.Errorf("%s is accepted", word)
		}
	}
	if (Link{Delay: 1, Jitter: 2}).Check() == nil {
		t.Error("more jitter than delay is accepted")
	}
	if rate, err := ParseRate("2.5Gbit"); err != nil || rate != 2.5e9 || FormatRate(rate) != "2.5gbit" {
		t.Errorf("%v, %v", rate, err)
	}
}

func TestThen(t *testing.T) {
	a, b := Link{Delay: 5, Jitter: 1, Rate: 1e6, Loss: 0.5}, Link{Delay: 7, Rate: 0, Loss: 0.5}
	want := Link{Delay: 12, Jitter: 1, Rate: 1e6, Loss: 0.75}
	if a.Then(b) != want || b.Then(a) != want {
		t.Errorf("%+v and %+v, want %+v", a.Then(b), b.Then(a), want)
	}
}
