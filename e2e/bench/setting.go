package bench

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/dfaas/dfaas/internal/machine"
)

// setting is where and when the measurements were made.
type setting struct {
	taken  time.Time
	commit string
	cpu    string
	cores  int
	kernel string
	golang string
}

// look describes the machine, and the checkout at root.
func look(ctx context.Context, root string) setting {
	s := setting{taken: time.Now().UTC(), cores: runtime.NumCPU(), golang: runtime.Version(), commit: "unknown", cpu: machine.CPUModel()}
	git := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--exclude", "*")
	git.Dir = root
	if commit, err := git.Output(); err == nil { // else a copy without its history
		s.commit = strings.TrimSpace(string(commit))
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		s.kernel = strings.TrimSpace(string(text))
	}
	return s
}
