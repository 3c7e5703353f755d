package faults

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/internal/experiment/summary"
)

const ms = time.Millisecond

// requests returns one every 10 ms within [from, to) that take latency.
func requests(from, to, latency time.Duration, status int) []summary.Sample {
	var all []summary.Sample
	for at := from; at < to; at += 10 * ms {
		all = append(all, summary.Sample{At: at, Latency: latency, Status: status})
	}
	return all
}

func TestMeasure(t *testing.T) {
	w := window{began: 2 * time.Second, ended: 3 * time.Second}
	sound := slices.Clip(requests(0, 2*time.Second, 4*ms, 200))
	tests := map[string]struct {
		samples []summary.Sample
		want    Impact
	}{
		"nothing happened": {
			samples: append(requests(2*time.Second, 5*time.Second, 4*ms, 200), sound...),
			want:    Impact{Sent: 290, BeforeP99: 4, BeforeMax: 4, P99: 4, Max: 4},
		},
		"errors during the fault only": {
			samples: append(requests(2*time.Second, 3*time.Second, ms, 503), sound...),
			want:    Impact{Sent: 90, Errors: map[string]int{"503": 90}, InFlight: map[string]int{"503": 10}, BeforeP99: 4, BeforeMax: 4, P99: 1, Max: 1},
		},
		"errors up to half a second after it": {
			samples: append(requests(2*time.Second, 3500*ms, ms, 0), sound...),
			want:    Impact{Sent: 140, Errors: map[string]int{"0": 140}, InFlight: map[string]int{"0": 10}, BeforeP99: 4, BeforeMax: 4, P99: 1, Max: 1, Calm: 0.5},
		},
		"slow for the first tenth of a second after it": {
			samples: append(append(requests(3*time.Second, 3100*ms, 50*ms, 200), requests(3100*ms, 4*time.Second, 4*ms, 200)...), sound...),
			want:    Impact{Sent: 100, BeforeP99: 4, BeforeMax: 4, P99: 50, Max: 50, Delay: 46, Calm: 0.25},
		},
		"one slow request is not disturbed service": {
			samples: append(append(requests(3*time.Second, 3010*ms, 50*ms, 200), requests(3010*ms, 4*time.Second, 4*ms, 200)...), sound...),
			want:    Impact{Sent: 100, BeforeP99: 4, BeforeMax: 4, P99: 4, Max: 50, Delay: 46},
		},
		"under way when it began": {
			samples: append(sound,
				summary.Sample{At: 1999 * ms, Latency: 3 * ms, Status: 502}, summary.Sample{At: 1998 * ms, Latency: 5 * ms, Status: 200}),
			want: Impact{InFlight: map[string]int{"502": 1}, BeforeP99: 4, BeforeMax: 4},
		},
		"an error before it": {
			samples: append(sound, summary.Sample{At: time.Second, Latency: 9 * ms, Status: 429}),
			want:    Impact{BeforeErrors: 1, BeforeP99: 4, BeforeMax: 9},
		},
		"no request at all": {},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.want.Errors == nil {
				test.want.Errors = map[string]int{}
			}
			if test.want.InFlight == nil {
				test.want.InFlight = map[string]int{}
			}
			if diff := cmp.Diff(test.want, measure(test.samples, nil, w)); diff != "" {
				t.Error("-want +got\n" + diff)
			}
		})
	}
}

// What the bystander's users wait for at the same time came from the machine.
func TestDelay(t *testing.T) {
	w := window{began: time.Second, ended: 2 * time.Second}
	at := func(at, latency time.Duration) summary.Sample {
		return summary.Sample{At: at, Latency: latency, Status: 200}
	}
	slow := at(1500*ms, 80*ms)
	tests := map[string]struct {
		samples, bystander []summary.Sample
		want               float64
	}{
		"before":                           {[]summary.Sample{at(500*ms, 80*ms)}, nil, 0},
		"alone":                            {[]summary.Sample{slow}, []summary.Sample{at(1500*ms, 5*ms)}, 70},
		"as slow":                          {[]summary.Sample{slow}, []summary.Sample{at(1450*ms, 90*ms)}, 0},
		"slower":                           {[]summary.Sample{slow}, []summary.Sample{at(1600*ms, 30*ms)}, 50},
		"at another time":                  {[]summary.Sample{slow}, []summary.Sample{at(1200*ms, 90*ms), at(1700*ms, 90*ms)}, 70},
		"no slower than one was before":    {[]summary.Sample{at(500*ms, 80*ms), slow}, nil, 0},
		"the worst counts, not the latest": {[]summary.Sample{slow, at(1600*ms, 20*ms)}, nil, 70},
	}
	for name, test := range tests {
		samples := append([]summary.Sample{at(0, 10*ms)}, test.samples...)
		if got := measure(samples, test.bystander, w).Delay; got != test.want {
			t.Errorf("%s: %v ms, want %v", name, got, test.want)
		}
	}
}

func TestHeldSince(t *testing.T) {
	bad := errors.New("not yet")
	tests := map[string]struct {
		looks []look
		since time.Duration
		ok    bool
	}{
		"never looked": {},
		"always":       {[]look{{1, nil}, {2, nil}}, 1, true},
		"again":        {[]look{{1, nil}, {2, bad}, {3, nil}, {4, nil}}, 3, true},
		"not for good": {[]look{{1, nil}, {2, bad}}, 1, false},
		"never":        {[]look{{1, bad}}, 0, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			since, ok := heldSince(test.looks)
			if ok != test.ok || ok && since != test.since {
				t.Errorf("heldSince = %v, %v; want %v, %v", since, ok, test.since, test.ok)
			}
		})
	}
}
