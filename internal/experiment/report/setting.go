package report

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/dfaas/dfaas/internal/atomicfile"
	"github.com/dfaas/dfaas/internal/machine"
)

// Setting says when, of what and where something was measured.
type Setting struct {
	Date    time.Time `json:"date"`
	Commit  string    `json:"commit"`
	Machine string    `json:"machine"`
	HAProxy string    `json:"haproxy"`
}

// Here is the setting of this machine, now.
func Here(commit, haproxy string) Setting {
	return Setting{
		Date: time.Now(), Commit: commit, HAProxy: haproxy,
		Machine: fmt.Sprintf("%d cores of %s", runtime.NumCPU(), machine.CPUModel()),
	}
}

// String names all of it, for the head of a report.
func (s Setting) String() string {
	return fmt.Sprintf("on %s, commit %s, on %s, HAProxy %s", s.Date.UTC().Format("2006-01-02 15:04 UTC"), s.Commit, s.Machine, s.HAProxy)
}

// WriteFile replaces the file at path by what write writes, whole or not at all.
func WriteFile(path string, write func(io.Writer) error) error {
	var text strings.Builder
	if err := write(&text); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if err := atomicfile.Replace(path, []byte(text.String()), 0o644); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
