package agent

import (
	"strconv"
	"strings"

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

// heard is a peer's answer, as HAProxy tells of it with the next question.
type heard struct {
	mark, room int32
	refused    bool
}

// parseHeard reads "MARK ROOM": the mark that the call was given here, and what the
// peer has told, a number of calls or full. The peer may have told anything.
func parseHeard(text string) (heard, bool) {
	first, second, found := strings.Cut(text, " ")
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
