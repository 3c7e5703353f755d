package bench

import (
	"os"
	"testing"
	"time"
)

func TestParseCPUTime(t *testing.T) {
	tests := []struct {
		name, stat string
		want       time.Duration
		fails      bool
	}{
		{"plain", "42 (haproxy) S 1 42 42 0 -1 4194560 1 0 0 0 150 25 0 0 20 0 1 0 9 1 1", 1750 * time.Millisecond, false},
		{"odd command", "42 (a) b) (c) S 1 42 42 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 9 1 1", 30 * time.Millisecond, false},
		{"short", "42 (haproxy) S 1 42", 0, true},
		{"no command", "42 S 1", 0, true},
		{"no number", "42 (x) S 1 42 42 0 -1 4194560 1 0 0 0 many 25 0 0 20", 0, true},
		{"empty", "", 0, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseCPUTime(test.stat)
			if got != test.want || (err != nil) != test.fails {
				t.Errorf("got %v, %v; want %v", got, err, test.want)
			}
		})
	}
}

func TestParseResidentMemory(t *testing.T) {
	got, err := parseResidentMemory("Name:\tx\nVmPeak:\t  99 kB\nVmRSS:\t   20480 kB\nVmData:\t1 kB\n")
	if err != nil || got != 20<<20 {
		t.Errorf("got %d, %v; want 20 MiB", got, err)
	}
	for _, bad := range []string{"", "VmPeak: 1 kB\n", "VmRSS: lots\n"} {
		if got, err := parseResidentMemory(bad); err == nil {
			t.Errorf("%q gave %d", bad, got)
		}
	}
}

// The real files, of this process.
func TestOwnProcess(t *testing.T) {
	memory, err := residentMemory(os.Getpid())
	if err != nil || memory < 1<<20 {
		t.Errorf("a Go program in %d bytes, %v", memory, err)
	}
	if _, err := cpuTime(os.Getpid()); err != nil {
		t.Error(err)
	}
}
