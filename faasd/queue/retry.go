package queue

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Annotations of a function by which OpenFaaS' queue-worker is told how to try again.
const (
	annotationAttempts = "com.openfaas.retry.attempts"
	annotationCodes    = "com.openfaas.retry.codes"
	annotationMinWait  = "com.openfaas.retry.min_wait"
	annotationMaxWait  = "com.openfaas.retry.max_wait"
)

// Bounds of what the annotations may say.
const (
	maxAttempts = 1000
	maxCodes    = 32
	maxWait     = time.Hour
	leastWait   = 100 * time.Millisecond
)

// Policy is when a call is tried again.
type Policy struct {
	Attempts         int   // in all, 1 at least
	Codes            []int // statuses of the function after which it is
	MinWait, MaxWait time.Duration
}

// DefaultPolicy is that of OpenFaaS' documentation.
func DefaultPolicy() Policy {
	return Policy{
		Attempts: 10, MinWait: 10 * time.Second, MaxWait: 2 * time.Minute,
		Codes: []int{
			http.StatusTooManyRequests, http.StatusBadGateway, http.StatusInternalServerError, http.StatusGatewayTimeout, http.StatusRequestTimeout,
		},
	}
}

// ParsePolicy reads a function's annotations. A value that is none counts as not
// there, as OpenFaaS has it.
func ParsePolicy(annotations map[string]string) Policy {
	p := DefaultPolicy()
	if n, err := strconv.Atoi(annotations[annotationAttempts]); err == nil && 0 <= n && n <= maxAttempts {
		p.Attempts = max(1, n)
	}
	if codes, ok := parseCodes(annotations[annotationCodes]); ok {
		p.Codes = codes
	}
	for name, wait := range map[string]*time.Duration{annotationMinWait: &p.MinWait, annotationMaxWait: &p.MaxWait} {
		if d, err := time.ParseDuration(annotations[name]); err == nil && 0 <= d && d <= maxWait {
			*wait = d
		}
	}
	return p
}

func parseCodes(text string) (codes []int, ok bool) {
	for _, word := range strings.Split(text, ",") {
		code, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || code < 100 || code > 599 || len(codes) == maxCodes {
			return nil, false
		}
		codes = append(codes, code)
	}
	return codes, true
}

// again reports whether a call that was begun so often, with that result, is tried
// again, and after which time.
func (p Policy) again(r Result, tries int) (time.Duration, bool) {
	if tries >= p.Attempts || !r.Busy && !slices.Contains(p.Codes, r.Status) {
		return 0, false
	}
	return backoff(p.MinWait, p.MaxWait, tries), true
}

// backoff is the wait after so many tries: it doubles from least to most.
func backoff(least, most time.Duration, tries int) time.Duration {
	wait := max(least, leastWait)
	for ; tries > 1 && wait < most; tries-- {
		wait *= 2
	}
	return max(min(wait, most), leastWait)
}
