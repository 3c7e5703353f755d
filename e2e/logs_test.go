package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dfaas/dfaas/internal/experiment/summary"
)

// shownLines bounds what a failed test shows of one log.
const shownLines = 40

// showLogs makes the test, should it fail, show the end of every log in the
// directory of a federation's logs, as far as it was written since now.
func showLogs(t *testing.T, dir string) {
	t.Helper()
	before := make(map[string]int64)
	for _, path := range logs(dir) {
		if info, err := os.Stat(path); err == nil {
			before[path] = info.Size()
		}
	}
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for _, path := range logs(dir) {
			if text := end(path, before[path]); text != "" {
				name, _ := filepath.Rel(dir, path)
				t.Logf("the end of %s:\n%s", name, text)
			}
		}
	})
}

func logs(dir string) []string {
	paths, _ := filepath.Glob(filepath.Join(dir, "*", "*.log")) // the pattern is well-formed
	return paths
}

// end returns the last lines of a log behind the offset.
func end(path string, offset int64) string {
	file, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return err.Error()
	}
	text, err := io.ReadAll(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-shownLines):], "\n")
}

// seconds writes a summary one second a line.
func seconds(sum summary.Summary) string {
	var text bytes.Buffer
	for i, l := range sum.Loads {
		fmt.Fprintf(&text, "load %d on %s, %s, latency in ms %+v\n", i+1, l.Target, l.Function, l.Latency)
		for _, s := range l.Seconds {
			status, _ := json.Marshal(s.Status) // maps of numbers
			byNode, _ := json.Marshal(s.ByNode)
			fmt.Fprintf(&text, "  %3d  %s  %s\n", s.T, status, byNode)
		}
	}
	return text.String()
}
