package machine

import (
	"os/exec"
	"testing"
)

func TestParseCPU(t *testing.T) {
	got, err := parseCPU("cpu  100 10 50 800 20 1 2 17 5 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
	want := CPU{Busy: 180 * tick, Total: 1000 * tick}
	if err != nil || got != want {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	for _, bad := range []string{"", "cpu 1 2\n", "intr 1 2 3 4 5 6 7 8 9\n", "cpu a 2 3 4 5 6 7 8 9\n"} {
		if got, err := parseCPU(bad); err == nil {
			t.Errorf("%q gave %v", bad, got)
		}
	}
}

// The real counters grow with what a child does.
func TestCountersGrow(t *testing.T) {
	cpu, err := ReadCPU()
	if err != nil || cpu.Total < cpu.Busy || cpu.Busy == 0 {
		t.Fatalf("the machine: %v, %v", cpu, err)
	}
	own, err := OwnCPU()
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").Run(); err != nil {
		t.Fatal(err)
	}
	after, err := OwnCPU()
	if err != nil || after-own < 2*tick {
		t.Errorf("a busy child took %v, %v", after-own, err)
	}
}
