package load

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/summary"
)

func nodeOf(h http.Header) string { return h.Get("DFaaS-Node-ID") }

func ignore(summary.Sample) {}

func TestSend(t *testing.T) {
	var mu sync.Mutex
	seen := make(map[string]int)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		seen[r.Method+" "+r.URL.String()+" "+r.Header.Get("A")+" "+string(body)]++
		odd := len(seen) > 0 && seen["PUT /function/funca/x?a=b c hello"]%2 == 1
		mu.Unlock()
		if odd {
			w.Header().Set("DFaaS-Node-ID", "node-1")
			return
		}
		w.WriteHeader(429)
	}))
	defer server.Close()

	var results bytes.Buffer
	observed := 0
	l := scenario.Load{
		Target: "node-1", Function: "funca", Rate: 40, Duration: time.Second, Method: "PUT", Path: "/x", Query: "a=b", Body: "hello",
		Headers: map[string]string{"A": "c"},
	}
	sent, err := Send(t.Context(), Attack{
		Load: l, URL: server.URL, Zero: time.Now(), Node: nodeOf, Results: &results,
		Observe: func(summary.Sample) { observed++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(sent.Samples) != 40 || observed != 40 || seen["PUT /function/funca/x?a=b c hello"] != 40 {
		t.Errorf("%d samples, %d observed, requests %v", len(sent.Samples), observed, seen)
	}
	status := map[int]int{}
	for _, s := range sent.Samples {
		status[s.Status]++
		if (s.Status == 200) != (s.Node == "node-1") || s.At < 0 {
			t.Errorf("sample %+v", s)
		}
	}
	if status[200] != 20 || status[429] != 20 {
		t.Errorf("statuses %v", status)
	}

	// Vegeta itself reads the results.
	decode := vegeta.DecoderFor(&results)
	var metrics vegeta.Metrics
	for {
		var result vegeta.Result
		if err := decode(&result); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		metrics.Add(&result)
	}
	metrics.Close()
	if metrics.Requests != 40 || metrics.StatusCodes["429"] != 20 {
		t.Errorf("vegeta reads %d requests, %v", metrics.Requests, metrics.StatusCodes)
	}
}

func TestSendCountsTheUnanswered(t *testing.T) {
	sent, err := Send(t.Context(), Attack{
		Load: scenario.Load{Function: "funca", Rate: 10, Duration: time.Second, Method: "GET"},
		URL:  "http://127.0.0.1:1", Zero: time.Now(), Node: nodeOf, Observe: ignore, Results: io.Discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sent.Samples {
		if s.Status != 0 {
			t.Errorf("sample %+v", s)
		}
	}
	if len(sent.Samples) != 10 {
		t.Errorf("%d samples", len(sent.Samples))
	}
}

func TestSendEndsWithItsContext(t *testing.T) {
	var served atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if served.Add(1) == 5 {
			cancel()
		}
	}))
	defer server.Close()
	l := scenario.Load{Function: "funca", Rate: 100, Duration: time.Hour, Method: "GET"}
	sent, err := Send(ctx, Attack{Load: l, URL: server.URL, Zero: time.Now(), Node: nodeOf, Observe: ignore, Results: io.Discard})
	if err != nil || len(sent.Samples) < 5 {
		t.Errorf("%d samples, %v", len(sent.Samples), err)
	}
	l.Start = time.Hour
	sent, err = Send(ctx, Attack{Load: l, URL: server.URL, Zero: time.Now(), Node: nodeOf, Observe: ignore, Results: io.Discard})
	if err != nil || len(sent.Samples) != 0 {
		t.Errorf("before its start: %d samples, %v", len(sent.Samples), err)
	}
}

func TestSendReportsAFullDisk(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	sent, err := Send(t.Context(), Attack{
		Load: scenario.Load{Target: "node-1", Function: "funca", Rate: 10, Duration: time.Second, Method: "GET"},
		URL:  server.URL, Zero: time.Now(), Node: nodeOf, Observe: ignore, Results: full{},
	})
	if err == nil || len(sent.Samples) != 10 {
		t.Errorf("%d samples, %v", len(sent.Samples), err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

// At a constant rate, request k is due k intervals after the start, also after a delay.
func TestPacer(t *testing.T) {
	p := newPacer(scenario.Load{Rate: 50, Duration: time.Second}.Times())
	for _, test := range []struct {
		elapsed time.Duration
		sent    uint64
		wait    time.Duration
		stop    bool
	}{
		{0, 0, 0, false},
		{time.Millisecond, 1, 19 * time.Millisecond, false},
		{500 * time.Millisecond, 10, 0, false},
		{980 * time.Millisecond, 49, 0, false},
		{981 * time.Millisecond, 50, 0, true},
	} {
		wait, stop := p.Pace(test.elapsed, test.sent)
		if wait != test.wait || stop != test.stop {
			t.Errorf("after %s and %d requests: wait %s, stop %t", test.elapsed, test.sent, wait, stop)
		}
	}
	if p.Rate(0) != 50 {
		t.Errorf("rate %v", p.Rate(0))
	}
}
