// Package pace lets long work give way to what comes from the network.
package pace

import "time"

const (
	// slice is how long is worked at a time. What comes meanwhile waits for that.
	slice = time.Millisecond
	// rest is too long to be over before the scheduler gets as far as the network.
	rest = 100 * time.Microsecond
)

// New returns a function to call in the midst of work, as often as one likes, that pauses
// now and then. It is for one goroutine and one piece of work, which begins now.
//
// On one thread (GOMAXPROCS) it takes a sleep: Go's scheduler looks at the network only when
// there is nothing else to be done, or every 10 ms, and a goroutine that gives way
// (runtime.Gosched) is something to be done. Where nobody has anything to do the sleep takes a
// millisecond, which is what the scheduler waits at the least.
func New() (pause func()) {
	since := time.Now()
	return func() {
		if time.Since(since) < slice {
			return
		}
		giveWay()
		since = time.Now()
	}
}

func giveWay() { time.Sleep(rest) }
