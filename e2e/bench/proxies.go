package bench

import (
	"fmt"
	"strings"

	"github.com/dfaas/dfaas/haproxy"
)

// bareConfig is an HAProxy that forwards to the gateway and does nothing else:
// what a node had before DFaaS came. Defaults are those of the drop-in.
const bareConfig = `defaults
    mode http
    log global
    option dontlognull
    timeout connect 1s
    timeout client 60s
    timeout http-request 10s
    timeout http-keep-alive 60s
    timeout server 60s
    timeout check 1s
    timeout queue 5s

frontend fe_bare
    bind fd@3
    option httplog
    option forwardfor
    default_backend be_bare

backend be_bare
    option httpchk GET /healthz
    http-check expect status 200
    server gateway "${DFAAS_GATEWAY}" check inter 1s fall 2 rise 1
`

// stubConfig is the cheapest gateway and the cheapest peer that there are: they
// leave the CPU to what is measured. The peer says that it executed.
const stubConfig = `global
    nbthread 1

defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 60s

frontend fe_gateway
    bind fd@3
    http-request return status 200 content-type text/plain string "ok\n"

frontend fe_peer
    bind fd@4
    http-request return status 200 content-type text/plain string "ok\n" hdr DFaaS-Node-ID "${BENCH_PEER}"
`

// runtimeConfig opens HAProxy's runtime API.
const runtimeConfig = `global
    stats socket "${BENCH_RUNTIME}" level admin
`

// withoutSPOE returns the drop-in with everything left out that concerns
// dfaas-spoa: the same frontends and backends, but nobody is asked.
func withoutSPOE(config string) (string, error) {
	var kept strings.Builder
	dropped := make(map[string]bool)
	skipping := false
	for line := range strings.Lines(config) {
		text := strings.TrimSpace(line)
		if line[0] != ' ' && line[0] != '#' && line[0] != '.' && text != "" {
			skipping = text == "backend "+haproxy.BackendSPOA || strings.HasPrefix(text, "backend "+haproxy.BackendSPOA+" ")
			dropped["backend"] = dropped["backend"] || skipping
		}
		switch {
		case skipping:
		case strings.HasPrefix(text, "filter spoe "):
			dropped["filter"] = true
		case strings.HasPrefix(text, "http-request send-spoe-group "):
			dropped["send-spoe-group"] = true
		case strings.Contains(text, "spoa_") || strings.Contains(text, "dfaas_unasked") || strings.HasPrefix(text, "acl unanswered "):
			// Of the circuit breaker.
		default:
			kept.WriteString(line)
		}
	}
	if len(dropped) != 3 || !dropped["backend"] {
		return "", fmt.Errorf("the drop-in should have a SPOE filter, a send-spoe-group and a backend for it, but has only: %v", dropped)
	}
	return kept.String(), nil
}
