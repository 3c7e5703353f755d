// Command dfaas-controller is the part of a DFaaS node that plans: it watches
// the node's functions and load, talks with the other nodes of the federation,
// and keeps dfaas-spoa and HAProxy informed of where requests may go.
package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dfaas/dfaas/internal/cli"
)

// version is set when the program is linked.
var version string

func main() {
	tune(os.Getenv)
	cli.Main(newCommand)
}

const (
	// gcPercent trades some CPU time, of which the controller needs little, for
	// memory: it shares an edge node with the functions.
	gcPercent = 50
	// maxCores leaves the others to HAProxy and the functions, whatever peers send
	// here. Besides, at rest most of the CPU time went into waking a second thread
	// for work that the first had done by then.
	maxCores = 1
	// timerSlack is how much too late a timer may be. Nothing here is due to the
	// fraction of a millisecond, but by default Go's scheduler wakes up a millisecond
	// early for each timer, and many times more to look after itself: all in all, twice
	// as often.
	timerSlack = time.Millisecond
)

// tune sets what the environment (GOMAXPROCS, GOGC) does not.
func tune(getenv func(string) string) {
	if getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(maxCores)
	}
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	_ = slacken() // or it takes somewhat more CPU time
}

// slacken lets all timers of this program be late. With cgo Go does not know all threads,
// and refuses.
func slacken() error {
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0); errno != 0 {
		return errno
	}
	return nil
}
