// Package machine says what this machine is, how busy it is, and what of that
// is whose doing: measurements count only when nobody else was busy.
package machine

import (
	"time"

	"github.com/prometheus/procfs"
)

// CPU is what all CPUs together have done since boot.
type CPU struct {
	// Programs is the time of all processes and of the children that these waited for,
	// and what a hypervisor stole, since that was not there for us. Interrupts that
	// belong to nobody are not in it: on an idle CPU, the kernel counts as such what
	// packets for our own processes took.
	Programs time.Duration
	// Total is the time that has passed, once for each CPU.
	Total time.Duration
}

// ReadCPU reads it. Between two readings Programs shrinks if a process ends that
// nobody waits for.
func ReadCPU() (CPU, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return CPU{}, err
	}
	stat, err := fs.Stat()
	if err != nil {
		return CPU{}, err
	}
	t := stat.CPUTotal // the time of guests is in user time already
	cpu := CPU{Total: seconds(t.User + t.Nice + t.System + t.IRQ + t.SoftIRQ + t.Steal + t.Idle + t.Iowait), Programs: seconds(t.Steal)}
	processes, err := fs.AllProcs()
	if err != nil {
		return CPU{}, err
	}
	for _, p := range processes {
		s, err := p.Stat()
		if err != nil {
			continue // it has ended, and its parent has its time
		}
		cpu.Programs += seconds(s.CPUTime()) + ticks(s.CUTime+s.CSTime)
	}
	return cpu, nil
}

// ticks converts what the kernel counts in hundredths of a second (USER_HZ).
func ticks(n int) time.Duration { return time.Duration(n) * 10 * time.Millisecond }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// ProcessCPU returns the CPU time, user and system, that a process has used.
func ProcessCPU(pid int) (time.Duration, error) {
	stat, err := processStat(pid)
	if err != nil {
		return 0, err
	}
	return seconds(stat.CPUTime()), nil
}

// ResidentMemory returns the memory that a process occupies, in bytes.
func ResidentMemory(pid int) (int64, error) {
	stat, err := processStat(pid)
	if err != nil {
		return 0, err
	}
	return int64(stat.ResidentMemory()), nil
}

func processStat(pid int) (procfs.ProcStat, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return procfs.ProcStat{}, err
	}
	return p.Stat()
}

// OpenFiles returns how many files a process has open.
func OpenFiles(pid int) (int, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return 0, err
	}
	return p.FileDescriptorsLen()
}

// CPUModel names the machine's CPU.
func CPUModel() string {
	const unknown = "an unknown CPU"
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return unknown
	}
	cpus, err := fs.CPUInfo()
	if err != nil || len(cpus) == 0 || cpus[0].ModelName == "" {
		return unknown
	}
	return cpus[0].ModelName
}
