package bench

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// wrkConnections is how many keep-alive connections ask at the same time: enough
// to keep two cores busy.
const wrkConnections = 64

// wrkResult is what one run of wrk counted.
type wrkResult struct {
	requests  float64
	perSecond float64
}

// runWrk asks for url as fast as it is answered, with one thread.
func runWrk(ctx context.Context, url string, duration time.Duration) (wrkResult, error) {
	cmd := exec.CommandContext(ctx, "wrk", "-t1", fmt.Sprintf("-c%d", wrkConnections),
		fmt.Sprintf("-d%ds", int(duration.Seconds())), "--timeout", "5s", url)
	output, err := cmd.CombinedOutput()
	if err != nil {
		return wrkResult{}, fmt.Errorf("wrk: %w (is it installed?)\n%s", err, output)
	}
	return parseWrk(string(output))
}

var (
	wrkRequests = regexp.MustCompile(`(?m)^\s+(\d+) requests in `)
	wrkRate     = regexp.MustCompile(`(?m)^Requests/sec:\s+([0-9.]+)$`)
	wrkErrors   = regexp.MustCompile(`(?m)^\s+(Non-2xx or 3xx responses: .*|Socket errors: .*)$`)
)

// parseWrk reads wrk's report. A run with errors is no measurement: a refusal
// costs much less than an answer.
func parseWrk(output string) (wrkResult, error) {
	if m := wrkErrors.FindStringSubmatch(output); m != nil {
		return wrkResult{}, fmt.Errorf("wrk: %s", m[1])
	}
	requests, rate := wrkRequests.FindStringSubmatch(output), wrkRate.FindStringSubmatch(output)
	if requests == nil || rate == nil {
		return wrkResult{}, fmt.Errorf("wrk's report is not understood: %.300q", output)
	}
	n, err := strconv.ParseFloat(requests[1], 64)
	if err != nil {
		return wrkResult{}, fmt.Errorf("wrk's requests: %w", err)
	}
	r, err := strconv.ParseFloat(rate[1], 64)
	if err != nil {
		return wrkResult{}, fmt.Errorf("wrk's requests per second: %w", err)
	}
	if n == 0 {
		return wrkResult{}, fmt.Errorf("wrk got no answer: %.300q", output)
	}
	return wrkResult{requests: n, perSecond: r}, nil
}
