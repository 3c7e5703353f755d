package faults

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// What is asked of the federation.
const (
	maxAdded  = 25 * time.Millisecond
	maxNormal = 3 * time.Second
	maxPeers  = time.Second
	// maxFallBack is the limit of connecting (DFAAS_PEER_CONNECT), then once more through HAProxy.
	maxFallBack = 250 * time.Millisecond
)

// Result is what came of one test case of the matrix.
type Result struct {
	Case  string `json:"case"`
	About string `json:"about"`
	// NotRun says why there is nothing else.
	NotRun string `json:"not_run,omitempty"`
	// Here are the users of the node with the fault, Others those of a node that
	// sends it requests, Bystander those of a node that need nobody else: what
	// these saw is what the machine did.
	Here      Impact `json:"here"`
	Others    Impact `json:"others"`
	Bystander Impact `json:"bystander"`
	// FaultSeconds is how long the fault lasted.
	FaultSeconds float64 `json:"fault_s"`
	// PlansAfter is when, in seconds after the fault's end, every node saw all
	// others with their servers up and had its routes again; -1: never.
	PlansAfter float64 `json:"plans_after_s"`
	// PeersAfter is when, in seconds after the fault's begin, the HAProxy of the
	// node had the servers of all peers for good; -1: never.
	PeersAfter float64 `json:"peers_after_s"`
	Reloads    int     `json:"reloads"` // of HAProxies, that the fault did not ask for
	// Normal is when everything was as before, in seconds after the fault's end;
	// -1: not while the test case ran.
	Normal float64 `json:"normal_after_s"`
	// UnaskedBefore and UnaskedAfter are the calls a second of the node's users that its
	// HAProxy served without asking the agent, before the fault and at the end.
	UnaskedBefore float64 `json:"unasked_before_per_s,omitempty"`
	UnaskedAfter  float64 `json:"unasked_after_per_s,omitempty"`

	Checks   []Verdict `json:"targets"`
	Notes    []string  `json:"notes,omitempty"`
	Complain string    `json:"last_complaint,omitempty"` // of the nodes
}

// Met reports whether every target was.
func (r Result) Met() bool {
	return !slices.ContainsFunc(r.Checks, func(v Verdict) bool { return !v.Met })
}

// disturbed reports whether something else kept the machine busy: those who have
// nothing to do with the fault were delayed.
func (r Result) disturbed() bool { return r.Bystander.AddedMax() > milliseconds(maxAdded) }

// Verdict says whether one target was met.
type Verdict struct {
	Target   string `json:"target"`
	Met      bool   `json:"met"`
	Measured string `json:"measured"`
}

// target is something asked of a test case, given what was measured.
type target func(Result) Verdict

// back asks for everything to be normal soon after the fault.
func back(r Result) Verdict {
	return Verdict{
		Target: fmt.Sprintf("normal within %v of the fault's end", maxNormal),
		Met:    r.Normal >= 0 && r.Normal <= maxNormal.Seconds(), Measured: secondsText(r.Normal),
	}
}

// unnoticed asks for no error at all, and no reload.
func unnoticed(r Result) Verdict {
	n := 0
	for _, users := range []Impact{r.Here, r.Others, r.Bystander} {
		n += users.errorCount() + total(users.InFlight)
	}
	return Verdict{Target: "no error for any user", Met: n == 0, Measured: fmt.Sprint(n)}
}

// undelayed asks for little added delay on every single request.
func undelayed(r Result) Verdict {
	worst := max(r.Here.Delay, r.Others.Delay)
	return Verdict{
		Target: fmt.Sprintf("at most %v added to any request", maxAdded),
		Met:    worst <= milliseconds(maxAdded), Measured: fmt.Sprintf("%.0f ms", worst),
	}
}

// othersUnharmed asks that users of other nodes get no error on requests that
// were not yet under way when the fault began.
func othersUnharmed(r Result) Verdict {
	n := r.Others.errorCount() + r.Bystander.errorCount()
	return Verdict{Target: "no error for users of other nodes on requests not yet sent", Met: n == 0, Measured: fmt.Sprint(n)}
}

// unharmed asks that no user gets an error on a request that was not yet under way
// when the fault began.
func unharmed(r Result) Verdict {
	n := r.Here.errorCount() + r.Others.errorCount() + r.Bystander.errorCount()
	return Verdict{Target: "no error for any user on requests not yet sent", Met: n == 0, Measured: fmt.Sprint(n)}
}

// hardlyHarmed asks that of the requests of each node's users, those under way included,
// at most one in a hundred gets an error.
func hardlyHarmed(r Result) Verdict {
	worst := 0.0
	for _, users := range []Impact{r.Here, r.Others, r.Bystander} {
		worst = max(worst, float64(users.errorCount()+total(users.InFlight))/float64(max(1, users.Sent)))
	}
	return Verdict{Target: "at most one request of 100 without an answer, for any user", Met: worst <= 0.01, Measured: fmt.Sprintf("%.1f %%", 100*worst)}
}

// fallsBack asks that what goes to a peer that cannot be reached is soon served
// elsewhere: all but one request in a hundred.
func fallsBack(r Result) Verdict {
	worst := max(r.Here.AddedP99(), r.Others.AddedP99())
	return Verdict{
		Target: fmt.Sprintf("at most %v added to 99 requests of 100", maxFallBack),
		Met:    worst <= milliseconds(maxFallBack), Measured: fmt.Sprintf("%.0f ms", worst),
	}
}

// peersBack asks for a reloaded HAProxy to have its peers again soon.
func peersBack(r Result) Verdict {
	return Verdict{
		Target: fmt.Sprintf("all peers restored within %v", maxPeers),
		Met:    r.PeersAfter >= 0 && r.PeersAfter <= maxPeers.Seconds(), Measured: secondsText(r.PeersAfter),
	}
}

// noReload asks that no HAProxy is reloaded by anybody but the fault.
func noReload(r Result) Verdict {
	return Verdict{Target: "no HAProxy reloaded", Met: r.Reloads == 0, Measured: fmt.Sprint(r.Reloads)}
}

// unasked asks that most calls are served without a question, before the fault and again
// while the test case is watched.
func unasked(r Result) Verdict {
	return Verdict{
		Target:   "most calls served without asking the agent, before and after",
		Met:      mostUnasked(r.UnaskedBefore) && mostUnasked(r.UnaskedAfter),
		Measured: fmt.Sprintf("%.0f of %.0f a second before, %.0f after", r.UnaskedBefore, userRate, r.UnaskedAfter),
	}
}

func mostUnasked(perSecond float64) bool { return perSecond > userRate/2 }

func secondsText(s float64) string {
	if s < 0 {
		return "not while watched"
	}
	return fmt.Sprintf("%.1f s", s)
}

// countsText writes errors by status.
func countsText(counts map[string]int) string {
	if len(counts) == 0 {
		return "none"
	}
	var parts []string
	for _, status := range slices.Sorted(maps.Keys(counts)) {
		name := status
		if status == "0" {
			name = "no response"
		}
		parts = append(parts, fmt.Sprintf("%d x %s", counts[status], name))
	}
	return strings.Join(parts, ", ")
}
