package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/dfaas/dfaas/internal/machine"
)

// setting is where and when the measurements were made.
type setting struct {
	taken   time.Time
	commit  string
	cpu     string
	cores   int
	kernel  string
	haproxy string
	golang  string
}

// look describes the machine, and the checkout at root.
func look(ctx context.Context, root, haproxyBinary string) (setting, error) {
	s := setting{taken: time.Now().UTC(), cores: runtime.NumCPU(), golang: runtime.Version(), commit: "unknown", cpu: machine.CPUModel()}
	version, err := exec.CommandContext(ctx, haproxyBinary, "-v").Output()
	if err != nil {
		return setting{}, fmt.Errorf("%s -v: %w", haproxyBinary, err)
	}
	s.haproxy = haproxyVersion(string(version))
	git := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--exclude", "*")
	git.Dir = root
	if commit, err := git.Output(); err == nil { // else a copy without its history
		s.commit = strings.TrimSpace(string(commit))
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		s.kernel = strings.TrimSpace(string(text))
	}
	return s, nil
}

// haproxyVersion finds the version in the output of `haproxy -v`.
func haproxyVersion(output string) string {
	line, _, _ := strings.Cut(output, "\n")
	if fields := strings.Fields(line); len(fields) >= 3 {
		return fields[2]
	}
	return "unknown"
}
