package bench

import "testing"

func TestParseGoBenchmarks(t *testing.T) {
	const output = `goos: linux
pkg: example.org/x
BenchmarkDecide/local-2   	10000000	       300.0 ns/op	       0 B/op	       0 allocs/op
BenchmarkDecide/local-2   	10000000	       100.0 ns/op	       0 B/op	       0 allocs/op
BenchmarkDecide/local-2   	10000000	       120.0 ns/op	       0 B/op	       0 allocs/op
BenchmarkDecide/peer-x-2  	  500000	      2500 ns/op	      12.50 MB/s	      64 B/op	       3 allocs/op
PASS
ok  	example.org/x	1.2s
`
	got, err := parseGoBenchmarks(output)
	if err != nil {
		t.Fatal(err)
	}
	want := []goBenchmark{
		{name: "Decide/local", nanos: 100},
		{name: "Decide/peer-x", nanos: 2500, bytes: 64, allocs: 3},
	}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %v, want %v", got[i], want[i])
		}
	}
	if got, err := parseGoBenchmarks("BenchmarkX-2 10 fast ns/op\n"); err == nil {
		t.Errorf("a benchmark without a number gave %v", got)
	}
}

func TestBenchmarkName(t *testing.T) {
	for field, want := range map[string]string{
		"BenchmarkDecide":          "Decide",
		"BenchmarkDecide-8":        "Decide",
		"BenchmarkDecide/1-and-2":  "Decide/1-and",
		"BenchmarkDecide/a-b":      "Decide/a-b",
		"BenchmarkDecide/1000x100": "Decide/1000x100",
	} {
		if got := benchmarkName(field); got != want {
			t.Errorf("%s: got %s, want %s", field, got, want)
		}
	}
}
