package soak

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
)

// What no log may have: the reports of Go's race detector, and those of panics,
// recovered from or not, and of fatal errors of Go's runtime.
var (
	raceReport  = regexp.MustCompile(`^WARNING: DATA RACE`)
	panicReport = regexp.MustCompile(`^panic: |^fatal error: |"panic":|http: panic serving`)
)

// logbook reads logs as they grow.
type logbook struct {
	offsets map[string]int64
	races   int
	panics  int
	first   string // where the first of either is
}

// read reads what was written since the last time.
func (b *logbook) read(f *federation.Federation, others ...string) error {
	var errs []error
	for _, path := range others {
		errs = append(errs, b.readFile(path))
	}
	for _, n := range f.Nodes() {
		for _, p := range n.Parts() {
			errs = append(errs, b.readFile(p.Log))
		}
	}
	return errors.Join(errs...)
}

func (b *logbook) readFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reading the logs: %w", err)
	}
	defer file.Close()
	offset := b.offsets[path]
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return fmt.Errorf("reading the logs: %w", err)
	}
	reader := bufio.NewReader(file)
	for {
		line, err := reader.ReadBytes('\n')
		if err != nil { // a line without an end is read again, when it has one
			break
		}
		offset += int64(len(line))
		race, crash := raceReport.Match(line), panicReport.Match(line)
		if (race || crash) && b.first == "" {
			b.first = fmt.Sprintf("%s: %.120s", path, line)
		}
		if race {
			b.races++
		}
		if crash {
			b.panics++
		}
	}
	if b.offsets == nil {
		b.offsets = make(map[string]int64)
	}
	b.offsets[path] = offset
	return nil
}
