// Package machine says what this machine is, how busy it is, and what of that
// is whose doing: measurements count only when nobody else was busy.
package machine

import (
	"time"

	"github.com/prometheus/procfs"
)

// CPU is what all CPUs together have done since boot. Time stolen by a
// hypervisor counts as busy: it was not there for us.
type CPU struct{ Busy, Total time.Duration }

// ReadCPU reads it.
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
	busy := t.User + t.Nice + t.System + t.IRQ + t.SoftIRQ + t.Steal
	return CPU{Busy: seconds(busy), Total: seconds(busy + t.Idle + t.Iowait)}, nil
}

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
