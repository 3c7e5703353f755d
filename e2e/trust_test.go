package e2e

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dfaas/dfaas/controller/identity"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/control"
	"github.com/dfaas/dfaas/spoa/token"
)

// smuggled are headers by which a user might pretend to be part of DFaaS. With
// DFaaS-Node-ID among them the request would be refused.
func smuggled() http.Header {
	return http.Header{
		"DFaaS-Token":      {"a.b.c"},
		"dfaas-fallback":   {"503"},
		"DFAAS-TIMEOUT":    {"1"},
		"DFaaS-Anything":   {"x"},
		"DFaaS-":           {"y"},
		"X-Harmless":       {"stays"},
		"X-DFaaS-Harmless": {"stays"},
	}
}

// clean reports whether a function saw none of DFaaS's headers, and the user's own.
func clean(r reply) error {
	env := environment(r)
	for name, value := range env {
		if strings.HasPrefix(strings.ToLower(name), "http_dfaas") {
			return fmt.Errorf("the function sees %s=%s", name, value)
		}
	}
	if env["Http_X_Harmless"] != "stays" || env["Http_X_Dfaas_Harmless"] != "stays" {
		return fmt.Errorf("the user's own headers are missing in %q", r.body)
	}
	return nil
}

// smuggling: neither here nor at a peer does a function see what a user calls
// DFaaS-..., nor the token of a forwarded request. (Behind a dead peer:
// TestSmugglingBehindADeadPeer.)
func (c *cluster) smuggling(t *testing.T) {
	for name, by := range map[string]*federation.Node{"env-here": c.one, "env-there": c.three} {
		r := call(t, c.one, request{path: "/function/" + name, header: smuggled()})
		if err := served(r, by); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := clean(r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// signer returns the key of a node.
func (c *cluster) signer(t *testing.T, n *federation.Node) ed25519.PrivateKey {
	t.Helper()
	id, err := identity.Load(filepath.Join(c.Dir(), n.Name, "identity.key"))
	if err != nil {
		t.Fatal(err)
	}
	return id.Ed25519()
}

// tokens: only a fresh token that a member made for this very node lets a peer's
// request in, and even then it gets no further than here.
func (c *cluster) tokens(t *testing.T) {
	deploy(t, c.two, function("guarded", "env", maxrate("100")))
	awaitServed(t, c.one, "/function/guarded", c.two) // so node-2 admits node-1

	one, two, three := c.one.PeerID, c.two.PeerID, c.three.PeerID
	stranger, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	mint := func(key ed25519.PrivateKey, iss, aud string, at time.Time) string {
		made, err := token.Mint(key, testvalue.Peer(iss), testvalue.Peer(aud), at, token.MaxLifetime)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	keyOne := c.signer(t, c.one)
	good := mint(keyOne, one, two, now)
	parts := strings.Split(good, ".")
	ask := func(path string, h http.Header) reply { return callOnce(t, c.two, request{path: path, header: h}) }

	eventually(t, patience, "a true peer is let in", func() error {
		r := ask("/function/guarded", http.Header{"DFaaS-Node-ID": {one}, "DFaaS-Token": {good}})
		if err := served(r, c.two); err != nil {
			return err
		}
		for name := range environment(r) {
			if strings.HasPrefix(strings.ToLower(name), "http_dfaas") {
				t.Errorf("the function of a peer's request sees %s", name)
			}
		}
		return nil
	})
	// What node-2 does not have it does not ask others for on a peer's behalf.
	r := ask("/function/env-there", http.Header{"DFaaS-Node-ID": {one}, "DFaaS-Token": {good}})
	if err := refused(r, http.StatusServiceUnavailable, c.two); err != nil {
		t.Errorf("a function that only node-3 has, asked for by a peer: %v", err)
	}

	for _, forged := range []struct {
		what, reason string // reason in the meter; "": HAProxy refuses it alone
		node, token  []string
	}{
		{"no token", "missing_token", []string{one}, nil},
		{"an empty token", "missing_token", []string{one}, []string{""}},
		{"no token worth the name", "malformed", []string{one}, []string{"x"}},
		{"an empty id", "unknown_peer", []string{""}, []string{good}},
		{"an id of no member", "unknown_peer", []string{stranger.String()}, []string{mint(stranger.Ed25519(), stranger.String(), two, now)}},
		{"a member's id, copied, with another's signature", "bad_signature", []string{one}, []string{mint(stranger.Ed25519(), one, two, now)}},
		{"a member's id, copied, with another's token", "wrong_issuer", []string{one}, []string{mint(c.signer(t, c.three), three, two, now)}},
		{"a token for another node", "wrong_audience", []string{one}, []string{mint(keyOne, one, three, now)}},
		{"a token of the past", "expired", []string{one}, []string{mint(keyOne, one, two, now.Add(-time.Minute))}},
		{"a token of the future", "not_yet_valid", []string{one}, []string{mint(keyOne, one, two, now.Add(time.Minute))}},
		{"the node's own id", "unknown_peer", []string{two}, []string{mint(c.signer(t, c.two), two, two, now)}},
		{"alg none, unsigned", "bad_algorithm", []string{one}, []string{encode(`{"alg":"none","typ":"JWT"}`) + "." + parts[1] + "."}},
		{"HS256 with the public key", "bad_algorithm", []string{one}, []string{hs256(parts[1], keyOne.Public().(ed25519.PublicKey))}},
		{"a truncated token", "bad_signature", []string{one}, []string{good[:len(good)-2]}},
		{"an over-long token", "malformed", []string{one}, []string{good + strings.Repeat("A", token.MaxLen)}},
		{"two ids", "ambiguous", []string{one, three}, []string{good}},
		{"the same id twice", "ambiguous", []string{one, one}, []string{good}},
		{"two tokens", "ambiguous", []string{one}, []string{good, "a.b.c"}},
	} {
		header := http.Header{"DFaaS-Node-ID": forged.node}
		if forged.token != nil {
			header["DFaaS-Token"] = forged.token
		}
		before, asked := c.denied(t, c.two, forged.reason), uint64(0)
		for _, path := range []string{"/function/guarded", "/function/env-there", "/function/nobody-has-this"} {
			// Without the agent's answer in time, a token that could be one is not looked at.
			eventually(t, patience, forged.what+", "+path, func() error {
				asked++
				return refused(ask(path, header), http.StatusForbidden, c.two)
			})
		}
		if forged.reason != "" {
			c.awaitDenied(t, c.two, forged.reason, before, 3, asked, func() { ask("/function/guarded", header) })
		}
	}
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// hs256 is a token with those claims, signed with what everybody knows.
func hs256(claims string, key []byte) string {
	signed := encode(`{"alg":"HS256","typ":"JWT"}`) + "." + claims
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// denied reads how many claims to be a peer the node refused for that reason.
func (c *cluster) denied(t *testing.T, n *federation.Node, reason string) uint64 {
	t.Helper()
	spoa := control.New(n.ControlSocket)
	defer spoa.Close()
	report, err := spoa.Meter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return report.Denied[reason]
}

// awaitDenied waits until the node, which has counted so many before, has refused least
// more claims for that reason, and no more than were made. HAProxy waits for its answer
// 20 ms and decides on its own then, before they are counted; where a busy machine's agent
// was late often, it may not be asked for a moment, so that claims are made again.
func (c *cluster) awaitDenied(t *testing.T, n *federation.Node, reason string, before, least, made uint64, again func()) {
	t.Helper()
	eventually(t, patience, fmt.Sprintf("%s counts %d more of %s", n.Name, least, reason), func() error {
		is := c.denied(t, n, reason) - before
		switch {
		case is > made:
			t.Fatalf("%s counts %d of %s, %d were made", n.Name, is, reason, made)
		case is < least:
			made++
			again()
			return fmt.Errorf("it counts %d of %d", is, made-1)
		}
		return nil
	})
}

// logOf returns what a part has logged.
func logOf(t *testing.T, n *federation.Node, part scenario.Part) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(n.Logs, string(part)+".log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
