// Package grant is how the agent hears of calls that HAProxy has served without
// asking it, and says how many more may be: documents only. HAProxy counts, the
// controller carries its counters to the agent and the agent's grants back.
package grant

import (
	"encoding/json"
	"fmt"

	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/spoa/table"
)

const (
	// MaxCalls is the most that may be granted of one function, calls. HAProxy grants
	// nothing to what looks like more.
	MaxCalls = 1 << 16
	// LeastRate is the limit of a function, requests/s, below which there is never a grant.
	LeastRate = 32
	// MaxFunctions is for how many functions there are grants at a time: those that are
	// called most. HAProxy has room for four times as many.
	MaxFunctions = 256
	// MaxRunLen is the longest Report.Run, in bytes.
	MaxRunLen = 64
	// MaxBytes bounds a report, in bytes.
	MaxBytes = 1 << 20
)

// Report is what POST /v1/unasked takes: how many calls of this node's users one run
// of HAProxy has served without a question, since it started.
type Report struct {
	// Run tells one run of HAProxy from the next, which counts from 0.
	Run string `json:"run"`
	// Counted are calls by function, modulo 2^32. What is missing has not been called.
	Counted map[string]uint32 `json:"counted"`
}

// Grant is what may be served without a question from the report on that it answers.
type Grant struct {
	// Calls is how many, 0 to MaxCalls: beyond the count of that report, not beyond what
	// was granted before. 0 takes back what was.
	Calls uint32 `json:"calls"`
	// TimeoutMillis is the function's time limit in ms, 0 for none.
	TimeoutMillis int32 `json:"timeout_ms,omitempty"`
}

// Grants is the answer to a report. Functions that it does not name keep what they
// have, which HAProxy forgets soon.
type Grants struct {
	Functions map[string]Grant `json:"functions"`
}

// Decode reads a report and checks it. Fields that are not known are left to newer
// versions.
func Decode(document []byte) (Report, error) {
	if len(document) > MaxBytes {
		return Report{}, fmt.Errorf("a report of more than %d bytes", MaxBytes)
	}
	var r Report
	if err := json.Unmarshal(document, &r); err != nil {
		return Report{}, fmt.Errorf("a report of HAProxy's counters: %w", err)
	}
	switch {
	case r.Run == "" || len(r.Run) > MaxRunLen:
		return Report{}, fmt.Errorf("run: 1 to %d bytes, got %d", MaxRunLen, len(r.Run))
	case len(r.Counted) > table.MaxFunctions:
		return Report{}, fmt.Errorf("counted: at most %d functions, got %d", table.MaxFunctions, len(r.Counted))
	}
	for name := range r.Counted {
		if _, err := funcname.Parse(name); err != nil {
			return Report{}, fmt.Errorf("counted: %w", err)
		}
	}
	return r, nil
}
