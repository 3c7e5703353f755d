package bench

import (
	"strings"
	"testing"

	"github.com/dfaas/dfaas/haproxy"
)

func TestWithoutSPOE(t *testing.T) {
	full := haproxy.Config()
	plain, err := withoutSPOE(full)
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{
		"\n    filter spoe", "\n    http-request send-spoe-group", "\nbackend " + haproxy.BackendSPOA, "spop-check", "spoa_silent", "dfaas_unasked",
	} {
		if !strings.Contains(full, gone) || strings.Contains(plain, gone) {
			t.Errorf("%q: in the drop-in %v, left %v", gone, strings.Contains(full, gone), strings.Contains(plain, gone))
		}
	}
	for _, stays := range []string{
		"\nfrontend " + haproxy.FrontendUsers, "\nbackend " + haproxy.BackendLocal,
		"\nbackend " + haproxy.BackendPeers, "    use_backend " + haproxy.BackendPeers, "presetenv DFAAS_SPOA",
	} {
		if !strings.Contains(plain, stays) {
			t.Errorf("%q is missing", stays)
		}
	}
	if _, err := withoutSPOE(plain); err == nil {
		t.Error("a configuration without SPOE passed for one with it")
	}
}

func TestWithLua(t *testing.T) {
	config, err := withLua(haproxy.Config())
	if err != nil {
		t.Fatal(err)
	}
	asks := strings.Index(config, "http-request lua.dfaas_decide if dfaas_function")
	_, rest, found := strings.Cut(config, "\nfrontend "+haproxy.FrontendUsers+" ")
	if !found || asks < len(config)-len(rest) || asks > len(config)-len(rest)+strings.Index(rest, "\nfrontend ") || strings.Contains(config, "send-spoe-group dfaas") {
		t.Errorf("nobody, or dfaas-spoa, is asked in %s:\n%s", haproxy.FrontendUsers, config)
	}
}
