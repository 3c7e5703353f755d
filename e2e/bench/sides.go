package bench

import (
	"context"
	"strings"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/debian"
)

// kind is a way of taking function calls to where they are served.
type kind int

const (
	bare    kind = iota // HAProxy that forwards to the gateway and does nothing else
	unasked             // HAProxy with the drop-in, which asks nobody
	dfaas               // HAProxy with the drop-in, which asks dfaas-spoa
	fast                // the same, which need not ask about every call
	lua                 // HAProxy with the drop-in, where a Lua action takes the place of dfaas-spoa
	goProxy             // a reverse proxy in Go
	caddy
)

func (k kind) String() string {
	return [...]string{"bare HAProxy", "drop-in without SPOE", "with DFaaS", "fast path", "Lua action", "Go reverse proxy", "Caddy"}[k]
}

// side is one of the proxies that are compared.
type side struct {
	kind
	release string // Debian's, of HAProxy; "": the installed one
}

func (s side) name() string {
	words := []string{strings.ReplaceAll(s.String(), " ", "-")}
	if s.release != "" {
		words = append(words, s.release)
	}
	return strings.Join(words, "-")
}

// group is an HAProxy with the sides that are measured in turn.
type group struct {
	release string // Debian's, of HAProxy; "": the installed one
	argv    []string
	version string // of HAProxy
	sides   []side
}

// releases of Debian whose HAProxies are measured besides the installed one. Those of
// the same series are measured once.
var releases = []string{"bookworm", "trixie", "forky", "sid", "experimental"}

// findGroups returns what is to be measured, the installed HAProxy and what would take
// the place of DFaaS first. What cannot be had is left out, and said.
func findGroups(ctx context.Context, installed string, progress func(string, ...any)) ([]group, error) {
	first := group{argv: []string{installed}}
	var err error
	if first.version, err = haproxy.Release(ctx, first.argv[0], first.argv[1:]...); err != nil {
		return nil, err
	}
	for _, k := range []kind{bare, unasked, dfaas, fast, lua, goProxy, caddy} {
		first.sides = append(first.sides, side{kind: k})
	}
	groups, known := []group{first}, map[string]bool{series(first.version): true}
	for _, release := range releases {
		found, err := debian.Find(release, "haproxy", "usr/sbin/haproxy")
		if err != nil {
			progress("  left out: %v", err)
			continue
		}
		g := group{release: release, argv: found.Argv()}
		if g.version, err = haproxy.Release(ctx, g.argv[0], g.argv[1:]...); err != nil {
			return nil, err
		}
		if known[series(g.version)] {
			continue
		}
		known[series(g.version)] = true
		for _, k := range []kind{bare, unasked, dfaas, fast} {
			g.sides = append(g.sides, side{kind: k, release: release})
		}
		groups = append(groups, g)
	}
	return groups, nil
}

// series is what versions that differ in their corrections only have in common.
func series(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}
