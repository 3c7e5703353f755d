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

// luaScript decides as dfaas-spoa does of a user's call that can be served here: by a
// token bucket for each function, beyond which a call goes to a peer. There is one Lua
// state for all threads, as counting exactly needs it.
const luaScript = `local each, depth = 1000000 / %[1]g, 500000
local functions = {}
for i = 0, %[2]d - 1 do functions["function-" .. i] = { used = 0 } end
core.register_action("dfaas_decide", { "http-req" }, function(txn)
	local f = functions[string.match(txn.sf:path(), "^/function/([^/]+)")]
	if not f then return end
	local now = core.now()
	local at = now.sec * 1000000 + now.usec
	local used = f.used > at and f.used or at
	if used - at > depth then
		txn:set_var("txn.dfaas.action", "peer")
		txn:set_var("txn.dfaas.target", "%[3]s")
		return
	end
	f.used = used + each
	txn:set_var("txn.dfaas.action", "local")
end, 0)
`

// luaConfig loads it.
const luaConfig = `global
    lua-load "${BENCH_LUA}"
`

// withLua returns the drop-in with a Lua action in the place of dfaas-spoa.
func withLua(config string) (string, error) {
	const asks = "    default_backend " + haproxy.BackendLocal + "\n"
	plain, err := withoutSPOE(config)
	if err != nil {
		return "", err
	}
	// The rule stands where the question would, before the frontend's choice of a backend.
	frontend := strings.Index(plain, "\nfrontend "+haproxy.FrontendUsers+" ")
	at := strings.Index(plain[max(0, frontend):], "    use_backend "+haproxy.BackendPeers)
	if frontend < 0 || at < 0 || !strings.Contains(plain, asks) {
		return "", fmt.Errorf("%s of the drop-in chooses no backend", haproxy.FrontendUsers)
	}
	at += frontend
	return plain[:at] + "    http-request lua.dfaas_decide if dfaas_function\n" + plain[at:], nil
}

// caddyConfig is a Caddy that sends calls to the gateway, and to a peer while that is
// down; it has no limit of rates. It checks the gateway as the drop-in does.
const caddyConfig = `{
	admin off
	auto_https off
	log {
		level ERROR
	}
}
http://%s {
	handle /function/* {
		reverse_proxy %s %s {
			lb_policy first
			health_uri /healthz
			health_interval 1s
			header_down DFaaS-Node-ID %s
			transport http {
				keepalive_idle_conns_per_host 256
			}
		}
	}
}
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
