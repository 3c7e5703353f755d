package shape

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/dfaas/dfaas/internal/clip"
)

// Bounds of a trace. A file outside them is refused.
const (
	MaxTrace     = 4 << 20 // bytes
	MaxTraceRows = 100_000
	MaxRate      = 50_000 // requests/s
	maxSecond    = 86_400.0
)

// ReadTrace reads a trace: CSV with two columns, the second from which on the rate
// holds, counted from the load's start, and the rate in requests/s. A first line
// "second,rate" may say so. An error has the file, the line and the reason.
func ReadTrace(path string) ([]Step, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the trace: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, MaxTrace+1))
	if err != nil {
		return nil, fmt.Errorf("reading the trace: %w", err)
	}
	return ParseTrace(path, data)
}

// ParseTrace is ReadTrace for the text of a file of that name.
func ParseTrace(name string, data []byte) ([]Step, error) {
	refuse := func(line int, format string, args ...any) ([]Step, error) {
		return nil, fmt.Errorf("%s:%d: %s", name, line, fmt.Sprintf(format, args...))
	}
	if len(data) > MaxTrace {
		return refuse(1, "the trace is larger than %d bytes", MaxTrace)
	}
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff")))) // as some spreadsheets begin a file
	r.FieldsPerRecord, r.TrimLeadingSpace, r.Comment, r.ReuseRecord = 2, true, '#', true
	var steps []Step
	for first := true; ; first = false {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		var malformed *csv.ParseError
		if errors.As(err, &malformed) {
			return refuse(malformed.Line, "two numbers with a comma between them are expected, second,rate: %v", malformed.Err)
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		line, _ := r.FieldPos(0)
		if first && row[0] == "second" && row[1] == "rate" {
			continue
		}
		second, err := ParseNumber(row[0], maxSecond)
		if err != nil {
			return refuse(line, "second: %v", err)
		}
		rate, err := ParseNumber(row[1], MaxRate)
		if err != nil {
			return refuse(line, "rate: %v", err)
		}
		step := Step{At: time.Duration(math.Round(second * float64(time.Second))), Rate: rate}
		switch n := len(steps); {
		case n > 0 && step.At <= steps[n-1].At:
			return refuse(line, "second %v does not come after %v", second, steps[n-1].At.Seconds())
		case n == MaxTraceRows:
			return refuse(line, "more than %d lines", MaxTraceRows)
		}
		steps = append(steps, step)
	}
	if len(steps) == 0 {
		return refuse(1, "the trace is empty")
	}
	return steps, nil
}

// ParseNumber reads a number of 0 to most, as it stands in a file of measured load.
func ParseNumber(text string, most float64) (float64, error) {
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(x) {
		return 0, fmt.Errorf("a number is expected, not %q", clip.Text(text))
	}
	if x < 0 || x > most {
		return 0, fmt.Errorf("%s is outside of 0 to %v", clip.Text(text), most)
	}
	return x, nil
}
