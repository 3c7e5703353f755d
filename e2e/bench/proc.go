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
