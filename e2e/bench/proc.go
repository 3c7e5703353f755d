package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU times in /proc: USER_HZ, which is 100 on every Linux
// that Go runs on.
const tick = 10 * time.Millisecond

// cpuTime returns the CPU time, user and system, that a process has used.
func cpuTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseCPUTime(string(text))
}

// parseCPUTime reads /proc/PID/stat. The second field, the command in
// parentheses, may contain anything.
func parseCPUTime(stat string) (time.Duration, error) {
	const utime, stime = 14, 15 // as proc(5) counts them
	end := strings.LastIndex(stat, ") ")
	if end < 0 {
		return 0, fmt.Errorf("/proc/PID/stat without a command: %.80q", stat)
	}
	fields := strings.Fields(stat[end+2:])
	if len(fields) <= stime-3 {
		return 0, fmt.Errorf("/proc/PID/stat with %d fields only", len(fields)+2)
	}
	var total time.Duration
	for _, field := range []int{utime, stime} {
		n, err := strconv.ParseInt(fields[field-3], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/PID/stat, field %d: %w", field, err)
		}
		total += time.Duration(n) * tick
	}
	return total, nil
}

// residentMemory returns the memory that a process occupies, in bytes.
func residentMemory(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return parseResidentMemory(string(text))
}

// parseResidentMemory reads VmRSS of /proc/PID/status.
func parseResidentMemory(status string) (int64, error) {
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kilobytes, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("/proc/PID/status, VmRSS: %w", err)
			}
			return kilobytes << 10, nil
		}
	}
	return 0, fmt.Errorf("/proc/PID/status without VmRSS: %.80q", status)
}

// machineCPU is what /proc/stat counts for all CPUs together since boot.
type machineCPU struct{ busy, total time.Duration }

func machineCPUTime() (machineCPU, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return machineCPU{}, err
	}
	return parseMachineCPU(string(text))
}

// parseMachineCPU reads the first line of /proc/stat. Time stolen by a
// hypervisor counts as busy: it was not there for us.
func parseMachineCPU(stat string) (machineCPU, error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	const idle, iowait, steal = 4, 5, 8
	if len(fields) <= steal || fields[0] != "cpu" {
		return machineCPU{}, fmt.Errorf("/proc/stat begins with %.80q", line)
	}
	var cpu machineCPU
	for i := 1; i <= steal; i++ { // the guests' time behind it is in user time already
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return machineCPU{}, fmt.Errorf("/proc/stat, field %d: %w", i, err)
		}
		cpu.total += time.Duration(n) * tick
		if i != idle && i != iowait {
			cpu.busy += time.Duration(n) * tick
		}
	}
	return cpu, nil
}
