package spelling

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	names := []string{"DFAAS_BIND", "DFAAS_GATEWAY", "DFAAS_TLS_BIND", "period"}
	for misspelt, want := range map[string]string{
		"DFAAS_GATEWY":           "DFAAS_GATEWAY",
		"DFAAS_BNID":             "DFAAS_BIND",
		"peroid":                 "period",
		"period":                 "period",
		"x":                      "",
		"":                       "",
		"nothing of the kind":    "",
		strings.Repeat("p", 100): "",
	} {
		if got := Nearest(misspelt, names); got != want {
			t.Errorf("%q: %q, want %q", misspelt, got, want)
		}
	}
	if got := Nearest("period", nil); got != "" {
		t.Errorf("of no names: %q", got)
	}
}
