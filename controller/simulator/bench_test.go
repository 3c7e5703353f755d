package simulator

import (
	"flag"
	"runtime"
	"testing"
	"time"
)

var (
	benchNodes    = flag.Int("nodes", 200, "of BenchmarkWorld")
	benchReach    = flag.Float64("reach", 8, "of BenchmarkWorld: how many others a node reaches on average")
	benchCapacity = flag.Float64("capacity", 10, "of BenchmarkWorld: least capacity of a function, requests/s; the greatest is five times that")
	benchSpan     = flag.Duration("span", 5*time.Second, "of BenchmarkWorld: virtual time")
	benchMove     = flag.Duration("move", 0, "of BenchmarkWorld: time between two moves of the demand; 0: it is steady")
)

// BenchmarkWorld states how many events, and seconds of nodes, a second simulates, and
// how much memory a node takes. Each node has ten functions.
func BenchmarkWorld(b *testing.B) {
	instance, err := Generate{
		Nodes: *benchNodes, Functions: 10, Capacity: [2]float64{*benchCapacity, 5 * *benchCapacity}, EdgeProb: min(1, *benchReach/float64(*benchNodes)), Seed: 1,
	}.Instance()
	if err != nil {
		b.Fatal(err)
	}
	c := Defaults()
	c.Instance, c.Links.Delay, c.Warmup, c.Duration = instance, 50*time.Millisecond, time.Second, max(time.Second, *benchSpan-time.Second)
	if *benchMove > 0 {
		c.Demand.Pattern, c.Demand.Move = Moving, *benchMove
	}
	var w *world
	events, spans := uint64(0), 0
	before := heapInUse()
	for b.Loop() {
		if w, err = newWorld(c); err == nil {
			err = w.run(b.Context(), nil)
		}
		if err != nil {
			b.Fatal(err)
		}
		events, spans = events+w.tally.events, spans+1
	}
	elapsed, nodes := b.Elapsed().Seconds(), float64(*benchNodes)
	b.ReportMetric(float64(events)/elapsed, "events/s")
	b.ReportMetric(float64(spans)*nodes*(c.Warmup+c.Duration).Seconds()/elapsed, "node-s/s")
	b.ReportMetric(float64(heapInUse()-before)/nodes, "B/node")
	runtime.KeepAlive(w)
}

// heapInUse is how much of the heap is in use, bytes.
func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
