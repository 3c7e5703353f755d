package agent

import (
	"strconv"
	"strings"

	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/spoa/route"
)

// full is what a peer is told, instead of its room, whose call is refused.
const full = "full"

// roomText is what a peer is told beside the answer to its call.
func roomText(d route.Decision) string {
	if d.Action == route.Deny {
		return full
	}
	return strconv.Itoa(int(d.Room))
}

// isFound is said of a function that the gateway has although nobody was known to have
// it, before its name and a number that is another one for each time.
const isFound = "found"

// heard is what HAProxy tells with the next question: a peer's answer, or a function
// that was found.
type heard struct {
	mark, room int32
	refused    bool
	found      string // its name, and the number; the rest is of peers' answers
	number     int64
}

// parseHeard reads "MARK ROOM": the mark that the call was given here, and what the
// peer has told, a number of calls or full; or "found NAME NUMBER". The peer may have
// told anything, and users may have called anything.
func parseHeard(text string) (heard, bool) {
	first, second, found := strings.Cut(text, " ")
	if first == isFound {
		name, text, _ := strings.Cut(second, " ")
		number, err := strconv.ParseInt(text, 10, 64)
		return heard{found: name, number: number}, err == nil && number > 0 && funcname.Valid(name)
	}
	mark, ok := parseCount(first)
	if !found || !ok || mark == 0 {
		return heard{}, false
	}
	if second == full {
		return heard{mark: mark, refused: true}, true
	}
	room, ok := parseCount(second)
	return heard{mark: mark, room: room}, ok
}

// parseCount reads a number of decimal digits from 0 to 2^31-1.
func parseCount(text string) (int32, bool) {
	if text == "" || text[0] == '+' || text[0] == '-' {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 32)
	return int32(n), err == nil
}
