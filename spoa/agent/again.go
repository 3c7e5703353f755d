package agent

import (
	"strings"

	"github.com/dfaas/dfaas/spoa/route"
)

// gateway stands, instead of the mark of a peer's call, for one that the gateway of
// this node did not take.
const gateway = "gateway"

// parseAgain reads "QUESTION-MARK" or "QUESTION-gateway": which question about a
// call it is, and from where it comes back. What makes no sense, also a number of
// questions that are never asked, is a call that has just arrived.
func parseAgain(text string) (question int, mark int32) {
	first, second, found := strings.Cut(text, "-")
	n, ok := parseCount(first)
	if !found || !ok || n < 2 || n > route.MaxQuestions {
		return 0, 0
	}
	if second == gateway {
		return int(n), 0
	}
	if mark, ok = parseCount(second); !ok || mark == 0 {
		return 0, 0
	}
	return int(n), mark
}
