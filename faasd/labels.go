package faasd

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dfaas/dfaas/internal/limit"
)

// Labels of a function that DFaaS obeys.
const (
	LabelMaxRate   = "dfaas.maxrate"    // requests/s that this node can serve
	LabelTimeoutMS = "dfaas.timeout_ms" // HAProxy's server timeout, milliseconds
)

// Labels is what a function's labels ask of DFaaS. A label that is not valid
// counts as absent; its error is kept, to be shown once.
type Labels struct {
	// MaxRate is the capacity; meaningful only if HasMaxRate.
	MaxRate    limit.Rate
	HasMaxRate bool
	// MaxRateErr is set when the label is there and is not valid.
	MaxRateErr error

	// TimeoutMillis is 1 to 3,600,000; 0 when absent or not valid.
	TimeoutMillis int64
	// TimeoutErr is set when the label is there and is not valid.
	TimeoutErr error
}

// ParseLabels reads the labels that DFaaS obeys and ignores all others.
func ParseLabels(labels map[string]string) Labels {
	var l Labels
	if text, ok := labels[LabelMaxRate]; ok {
		l.MaxRate, l.MaxRateErr = parseRate(text)
		l.HasMaxRate = l.MaxRateErr == nil
	}
	if text, ok := labels[LabelTimeoutMS]; ok {
		l.TimeoutMillis, l.TimeoutErr = parseTimeout(text)
	}
	return l
}

func parseRate(text string) (limit.Rate, error) {
	perSecond, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	rate, bounds := limit.NewRate(perSecond)
	if err != nil || bounds != nil {
		return limit.Rate{}, fmt.Errorf("label %s=%s: use a number of requests/s from 0 to %g", LabelMaxRate, quoteShort(text), float64(limit.MaxRate))
	}
	return rate, nil
}

func parseTimeout(text string) (int64, error) {
	millis, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || millis < 1 || millis > limit.MaxTimeoutMillis {
		return 0, fmt.Errorf("label %s=%s: use a whole number of milliseconds from 1 to %d",
			LabelTimeoutMS, quoteShort(text), limit.MaxTimeoutMillis)
	}
	return millis, nil
}

// quoteShort quotes text that others wrote, short enough for one log line.
func quoteShort(text string) string {
	const most = 40
	if len(text) > most {
		text = text[:most] + "..."
	}
	return strconv.Quote(text)
}
