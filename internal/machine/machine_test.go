package machine

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// The real counters grow with what a child does that has ended between.
func TestCountersGrow(t *testing.T) {
	before, err := ReadCPU()
	if err != nil || before.Total < before.Programs || before.Programs == 0 {
		t.Fatalf("the machine: %v, %v", before, err)
	}
	if err := exec.Command("sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").Run(); err != nil {
		t.Fatal(err)
	}
	const busy = 20 * time.Millisecond
	now, err := ReadCPU()
	if err != nil || now.Programs-before.Programs < busy {
		t.Errorf("with it, programs took %v, %v", now.Programs-before.Programs, err)
	}
}

// What /proc says of this very process.
func TestOwnProcess(t *testing.T) {
	pid := os.Getpid()
	if memory, err := ResidentMemory(pid); err != nil || memory < 1<<20 || memory > 1<<30 {
		t.Errorf("a Go program in %d bytes, %v", memory, err)
	}
	files, err := OpenFiles(pid)
	if err != nil || files < 3 {
		t.Errorf("%d open files, %v", files, err)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if more, err := OpenFiles(pid); err != nil || more != files+1 {
		t.Errorf("%d open files after one more than %d, %v", more, files, err)
	}
	f.Close()
	began, err := ProcessCPU(pid)
	if err != nil {
		t.Fatal(err)
	}
	for used := began; used == began; { // until some is counted, in ticks
		if used, err = ProcessCPU(pid); err != nil {
			t.Fatal(err)
		}
	}
	if CPUModel() == "" {
		t.Error("no CPU")
	}
}

func TestNoProcess(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	_, cpu := ProcessCPU(pid)
	_, memory := ResidentMemory(pid)
	_, files := OpenFiles(pid)
	if cpu == nil || memory == nil || files == nil {
		t.Errorf("a process that has ended: %v, %v, %v", cpu, memory, files)
	}
}
