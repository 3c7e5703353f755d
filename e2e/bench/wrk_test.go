package bench

import (
	"strings"
	"testing"
)

const wrkReport = `Running 3s test @ http://127.0.0.1:39011/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   534.23us  265.66us   5.09ms   79.24%
    Req/Sec   110.10k    11.57k  135.41k    76.67%
  328093 requests in 3.00s, 27.22MB read
Requests/sec: 109207.55
Transfer/sec:      9.06MB
`

func TestParseWrk(t *testing.T) {
	got, err := parseWrk(wrkReport)
	if want := (wrkResult{requests: 328093, perSecond: 109207.55}); err != nil || got != want {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	for name, bad := range map[string]string{
		"empty":    "",
		"refusals": strings.Replace(wrkReport, "Requests/sec", "  Non-2xx or 3xx responses: 12\nRequests/sec", 1),
		"errors":   strings.Replace(wrkReport, "Requests/sec", "  Socket errors: connect 0, read 3, write 0, timeout 0\nRequests/sec", 1),
		"nothing":  strings.Replace(wrkReport, "328093 requests", "0 requests", 1),
		"cut off":  wrkReport[:200],
	} {
		if got, err := parseWrk(bad); err == nil {
			t.Errorf("%s: gave %v", name, got)
		}
	}
}
