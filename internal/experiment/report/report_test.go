package report

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/summary"
)

func TestTable(t *testing.T) {
	var b strings.Builder
	err := Table(&b, summary.Summary{Loads: []summary.Load{
		{Target: "node-1", Function: "cat", Sent: 30, Status: map[string]int{"429": 10, "200": 20}, ByNode: map[string]int{"node-2": 20}},
		{Target: "node-2", Function: "cat"},
	}})
	got := strings.Join(strings.Fields(b.String()), " ")
	want := "LOAD TARGET FUNCTION SENT STATUS SERVED BY P50 MS P99 MS " +
		"1 node-1 cat 30 200: 20, 429: 10 node-2: 20 0.0 0.0 2 node-2 cat 0 - - 0.0 0.0"
	if err != nil || got != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
}

func TestUnmet(t *testing.T) {
	if err := Unmet("x.yaml", nil); err != nil {
		t.Error(err)
	}
	err := Unmet("x.yaml", []summary.Violation{{Line: 3, Reason: "too few"}, {Reason: "reloaded"}})
	if err == nil || err.Error() != "not as expected:\nx.yaml:3: too few\nreloaded" {
		t.Error(err)
	}
}

// TestWriteFile: what cannot be written whole leaves the old report.
func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "docs", "report.md")
	write := func(text string, err error) error {
		return WriteFile(path, func(w io.Writer) error {
			_, _ = io.WriteString(w, text)
			return err
		})
	}
	if err := write("first", nil); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := write("half", broken); !errors.Is(err, broken) {
		t.Error(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "first" {
		t.Errorf("%q, %v", text, err)
	}
	if err := write("second", nil); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	entries, _ := os.ReadDir(filepath.Dir(path))
	if err != nil || string(text) != "second" || len(entries) != 1 {
		t.Errorf("%q, %v, %d files", text, err, len(entries))
	}
}

func TestSetting(t *testing.T) {
	s := Here("abc", "2.6.12")
	s.Date, s.Machine = time.Unix(0, 0), "a machine"
	if got := s.String(); got != "on 1970-01-01 00:00 UTC, commit abc, on a machine, HAProxy 2.6.12" {
		t.Error(got)
	}
}
