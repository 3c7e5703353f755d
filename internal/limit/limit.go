// Package limit says which limits a function can have, wherever they are written:
// in labels, options, scenarios, announcements and tables.
package limit

import (
	"fmt"
	"math"
	"time"
)

const (
	// MaxRate is the highest rate, requests/s. Sums of such rates are far from
	// overflow.
	MaxRate = 1e6
	// MaxTimeout is the longest that a call may be allowed to take.
	MaxTimeout       = MaxTimeoutMillis * time.Millisecond
	MaxTimeoutMillis = 3_600_000
)

// CheckRate refuses what cannot be a rate in requests/s.
func CheckRate(r float64) error {
	switch {
	case r >= 0 && r <= MaxRate:
		return nil
	case math.IsNaN(r) || math.IsInf(r, 0):
		return fmt.Errorf("%v is not a number of requests/s", r)
	}
	return fmt.Errorf("%v is not within 0 and %v requests/s", r, float64(MaxRate))
}

// CheckTimeout refuses what cannot be a function's time limit in ms, 0 for none.
func CheckTimeout(millis int64) error {
	if millis < 0 || millis > MaxTimeoutMillis {
		return fmt.Errorf("%d is not within 0 and %d ms", millis, MaxTimeoutMillis)
	}
	return nil
}
