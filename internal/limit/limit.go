// Package limit says which limits a function can have, wherever they are written:
// in labels, options, scenarios, announcements and tables.
package limit

import (
	"fmt"
	"time"
)

const (
	// MaxTimeout is the longest that a call may be allowed to take.
	MaxTimeout       = MaxTimeoutMillis * time.Millisecond
	MaxTimeoutMillis = 3_600_000
)

// CheckTimeout refuses what cannot be a function's time limit in ms, 0 for none.
func CheckTimeout(millis int64) error {
	if millis < 0 || millis > MaxTimeoutMillis {
		return fmt.Errorf("%d is not within 0 and %d ms", millis, MaxTimeoutMillis)
	}
	return nil
}
