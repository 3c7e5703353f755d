// Package machine tells how busy this machine is, and how much of that is this
// program's doing: measurements count only when nobody else was busy.
package machine

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of CPU times in /proc: USER_HZ, which is 100 on every Linux
// that Go runs on.
const tick = 10 * time.Millisecond

// CPU is what all CPUs together have done since boot. Time stolen by a
// hypervisor counts as busy: it was not there for us.
type CPU struct{ Busy, Total time.Duration }

// ReadCPU reads it.
func ReadCPU() (CPU, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return CPU{}, err
	}
	return parseCPU(string(text))
}

// parseCPU reads the first line of /proc/stat.
func parseCPU(stat string) (CPU, error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	const idle, iowait, steal = 4, 5, 8
	if len(fields) <= steal || fields[0] != "cpu" {
		return CPU{}, fmt.Errorf("/proc/stat begins with %.80q", line)
	}
	var cpu CPU
	for i := 1; i <= steal; i++ { // the time of guests behind it is in user time already
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return CPU{}, fmt.Errorf("/proc/stat, field %d: %w", i, err)
		}
		cpu.Total += time.Duration(n) * tick
		if i != idle && i != iowait {
			cpu.Busy += time.Duration(n) * tick
		}
	}
	return cpu, nil
}

// OwnCPU returns the CPU time of this program and of all processes that it has
// started and seen the end of, with what these have started in turn.
func OwnCPU() (time.Duration, error) {
	var own time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			return 0, fmt.Errorf("getrusage: %w", err)
		}
		own += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return own, nil
}
