package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dfaas/dfaas/controller/identity"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/peercert"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/token"
)

// TestTLS has a federation with TLS between its nodes: surplus is served at
// peers, outsiders get nothing there, and a token is worth nothing without the
// certificate.
func TestTLS(t *testing.T) {
	t.Parallel()
	c := start(t, federation.Options{Nodes: surplus(), TLS: true})
	s := c.stream(t, c.one, "funca", surplusLoad)
	c.awaitForwarding(t, c.two, c.three)
	t.Run("Outsiders", c.outsiders)
	t.Run("Reload", func(t *testing.T) { c.reloaded(t, s) })
	c.awaitForwarding(t, c.two, c.three)
	by := flawless(t, s, s.stop(t))
	t.Logf("served by %v", by)
	for _, n := range []*federation.Node{c.two, c.three} {
		if by[n.Name] == 0 {
			t.Errorf("%s served nothing", n.Name)
		}
	}
	c.quiet(t)
}

// outsiders: who gets what from node-2.
func (c *cluster) outsiders(t *testing.T) {
	now := time.Now()
	good, err := token.Mint(c.signer(t, c.one), testvalue.Peer(c.one.PeerID), testvalue.Peer(c.two.PeerID), now, token.MaxLifetime)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	issue := func(id *identity.Identity) *tls.Certificate {
		made, err := peercert.Issue(id.String(), id.Ed25519(), now)
		if err != nil {
			t.Fatal(err)
		}
		return pairOf(t, made.PEM)
	}
	text, err := os.ReadFile(filepath.Join(c.Dir(), c.one.Name, "tls", haproxy.CertificateFile))
	if err != nil {
		t.Fatal(err)
	}
	member := pairOf(t, string(text))
	text, err = os.ReadFile(filepath.Join(c.Dir(), c.three.Name, "tls", haproxy.CertificateFile))
	if err != nil {
		t.Fatal(err)
	}
	other := pairOf(t, string(text))

	for _, test := range []struct {
		name, url   string
		certificate *tls.Certificate
		status      int // 0: not even a connection
		reason      string
	}{
		{"node-1", c.two.PeerURL, member, 200, ""},
		{"nobody's certificate", c.two.PeerURL, nil, 0, ""},
		{"a certificate of its own making", c.two.PeerURL, issue(stranger), 0, ""},
		{"in plain HTTP", strings.Replace(c.two.PeerURL, "https", "http", 1), nil, 0, ""},
		{"another member's certificate", c.two.PeerURL, other, 403, "not_over_tls"},
		{"a token without a certificate", c.two.URL, nil, 403, "not_over_tls"},
	} {
		before := c.denied(t, c.two, test.reason)
		ask := func() (int, error) {
			return asPeer(t.Context(), test.url+"/function/funca", test.certificate, c.one.PeerID, good)
		}
		status, err := ask()
		if status != test.status || (err == nil) != (test.status != 0) {
			t.Errorf("%s: %d %v, want %d", test.name, status, err, test.status)
		}
		if test.reason != "" {
			c.awaitDenied(t, c.two, test.reason, before, 1, 1, func() { _, _ = ask() }) // as before
		}
	}
}

func pairOf(t *testing.T, text string) *tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(text), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return &pair
}

// asPeer makes a request as a peer would that cares for nobody's certificate.
func asPeer(ctx context.Context, url string, certificate *tls.Certificate, id, token string) (status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, fmt.Errorf("making a request: %w", err)
	}
	request.Header.Set(haproxy.HeaderNodeID, id)
	request.Header.Set(haproxy.HeaderToken, token)
	config := &tls.Config{InsecureSkipVerify: true}
	if certificate != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	}
	response, err := (&http.Transport{DisableKeepAlives: true, TLSClientConfig: config}).RoundTrip(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}
