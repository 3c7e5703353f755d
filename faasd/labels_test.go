package faasd

import (
	"math"
	"strings"
	"testing"

	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/protocol"
)

func TestParseLabels(t *testing.T) {
	for _, test := range []struct {
		rate, timeout string // "-": absent
		wantRate      float64
		wantTimeout   int64
		rateErr       bool
		timeoutErr    bool
	}{
		{"-", "-", 0, 0, false, false},
		{"10", "1500", 10, 1500, false, false},
		{"0", "1", 0, 1, false, false},
		{"-0", "-", 0, 0, false, false},
		{"0.25", "3600000", 0.25, 3600000, false, false},
		{" 7 ", " 8 ", 7, 8, false, false},
		{"1e6", "-", 1e6, 0, false, false},
		{"1e3", "1e3", 1000, 0, false, true},
		{"1000001", "3600001", 0, 0, true, true},
		{"-1", "-1", 0, 0, true, true},
		{"NaN", "0", 0, 0, true, true},
		{"Inf", "1.5", 0, 0, true, true},
		{"1e999", "99999999999999999999", 0, 0, true, true},
		{"", "", 0, 0, true, true},
		{"ten", "1s", 0, 0, true, true},
		{"ten", "200", 0, 200, true, false}, // one bad label spoils no other
		{"10", "soon", 10, 0, false, true},
	} {
		labels := map[string]string{"other": "x"}
		if test.rate != "-" {
			labels[LabelMaxRate] = test.rate
		}
		if test.timeout != "-" {
			labels[LabelTimeoutMS] = test.timeout
		}
		got := ParseLabels(labels)
		if got.MaxRate.PerSecond() != test.wantRate || got.TimeoutMillis != test.wantTimeout ||
			(got.MaxRateErr != nil) != test.rateErr || (got.TimeoutErr != nil) != test.timeoutErr ||
			got.HasMaxRate != (test.rate != "-" && !test.rateErr) {
			t.Errorf("%s=%q %s=%q: %+v", LabelMaxRate, test.rate, LabelTimeoutMS, test.timeout, got)
		}
	}
	if got := ParseLabels(nil); got != (Labels{}) {
		t.Errorf("no labels: %+v", got)
	}
}

func FuzzParseLabels(f *testing.F) {
	for _, seed := range []string{"", "10", "1e6", "NaN", "-0", "0x1p-2", "1_000", strings.Repeat("9", 100)} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, rate, timeout string) {
		l := ParseLabels(map[string]string{LabelMaxRate: rate, LabelTimeoutMS: timeout})
		if l.HasMaxRate == (l.MaxRateErr != nil) {
			t.Errorf("rate %q: %+v", rate, l)
		}
		if got := l.MaxRate.PerSecond(); !(got >= 0 && got <= limit.MaxRate) || math.Signbit(got) {
			t.Errorf("rate %q: %g", rate, got)
		}
		if l.TimeoutMillis < 0 || l.TimeoutMillis > limit.MaxTimeoutMillis || (l.TimeoutMillis == 0) != (l.TimeoutErr != nil) {
			t.Errorf("timeout %q: %+v", timeout, l)
		}
		for _, err := range []error{l.MaxRateErr, l.TimeoutErr} {
			if err != nil && (len(err.Error()) > 400 || strings.Contains(err.Error(), "\n")) {
				t.Errorf("not a short line: %q", err)
			}
		}
	})
}

func TestNames(t *testing.T) {
	for _, test := range []struct{ function, namespace, want string }{
		{"figlet", "", "figlet"},
		{"figlet", "openfaas-fn", "figlet"},
		{"figlet", "dev", "figlet.dev"},
	} {
		name := Name(test.function, test.namespace)
		if name != test.want {
			t.Errorf("Name(%q, %q) = %q", test.function, test.namespace, name)
		}
		function, namespace := SplitName(name, DefaultNamespace)
		if function != test.function || (test.namespace != "" && namespace != test.namespace) {
			t.Errorf("SplitName(%q) = %q, %q", name, function, namespace)
		}
	}
	for label, want := range map[string]bool{
		"a": true, "a-b": true, "0": true, strings.Repeat("a", 63): true,
		"": false, "-a": false, "a-": false, "A": !protocol.Previous, "a.b": false, "a_b": !protocol.Previous, "ä": false, "a/b": false, strings.Repeat("a", 64): false,
	} {
		if got := ValidLabel(label); got != want {
			t.Errorf("ValidLabel(%q) = %v", label, got)
		}
	}
}
