package haproxy_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
	"github.com/dfaas/dfaas/haproxy/peercert"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// member is a node as far as certificates go.
type member struct {
	id     string
	key    ed25519.PrivateKey
	own    peercert.Certificate
	anchor string
	dir    string // as HAProxy reads it when it starts: knows nobody but itself
}

// newPeer makes the member with the n-th key, and idA, idB or idC if n is 1, 2
// or 3.
func newPeer(t *testing.T, n byte) *member {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	m := &member{id: idA[:51] + string("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz123456789"[n-1]), key: ed25519.NewKeyFromSeed(seed), dir: t.TempDir()}
	var err error
	if m.anchor, err = peercert.Anchor(m.id, m.key.Public().(ed25519.PublicKey)); err != nil {
		t.Fatal(err)
	}
	m.renew(t)
	m.write(t, haproxy.CertificateFile, m.own.PEM)
	m.write(t, haproxy.AnchorsFile, m.anchor)
	return m
}

func (m *member) renew(t *testing.T) {
	t.Helper()
	var err error
	if m.own, err = peercert.Issue(m.id, m.key, time.Now()); err != nil {
		t.Fatal(err)
	}
}

func (m *member) write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, file), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// at is the member as a peer that is reached in TLS.
func (m *member) at(t *testing.T, addr string) haproxy.Peer {
	t.Helper()
	p := peerAt(t, m.id, addr)
	p.Anchor = m.anchor
	return p
}

// pair is what the member shows as a client.
func (m *member) pair(t *testing.T) *tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(m.own.PEM), []byte(m.own.PEM))
	if err != nil {
		t.Fatal(err)
	}
	return &pair
}

func anchors(members ...*member) []string {
	var all []string
	for _, m := range members {
		all = append(all, m.anchor)
	}
	return all
}

func (n *node) secure(t *testing.T, own *member, others ...*member) {
	t.Helper()
	patiently(t, func() error { return n.Client.Secure(t.Context(), own.own, anchors(append(others, own)...)) })
}

func startTLS(t *testing.T, binary haproxytest.Binary, m *member) *node {
	t.Helper()
	// A busy machine may be slow to connect; what then happens is tested elsewhere.
	return startWith(t, haproxytest.Options{Binary: binary, NodeID: m.id, TLSDir: m.dir, Settings: map[string]string{haproxy.EnvPeerConnect: "10s"}})
}

func (n *node) forward(t *testing.T, to string) reply {
	t.Helper()
	return call(t, "GET", "http://"+n.decided+"/function/f", nil, "Test-Action", "peer", "Test-Target", to, "Test-Token", tokenOf(idA))
}

// callTLS sends a request with that certificate, whatever the server shows.
func callTLS(ctx context.Context, url string, certificate *tls.Certificate, maxVersion uint16, headers ...string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return 0, "", err
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	config := &tls.Config{InsecureSkipVerify: true, MaxVersion: maxVersion}
	if certificate != nil {
		// Without a look at whom the server says it accepts.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	}
	resp, err := (&http.Transport{DisableKeepAlives: true, TLSClientConfig: config}).RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

func TestTLSBetweenPeers(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		one, two, three := newPeer(t, 1), newPeer(t, 2), newPeer(t, 3)
		a, b := startTLS(t, binary, one), startTLS(t, binary, two)
		a.secure(t, one, two)
		b.secure(t, two, one)
		a.addPeers(t, two.at(t, b.TLSAddr))
		a.waitState(t, two.id, haproxy.Up)
		if s, _ := a.server(t, two.id); !s.TLS {
			t.Error("the peer's server does not speak TLS")
		}
		for range 2 {
			wantReply(t, a.forward(t, two.id), 200, b.TLSAddr, two.id)
		}
		wantNoClaims(t, b.gateway.lastRequest())
		if steps, _ := a.reconcile(t, two.at(t, b.TLSAddr)); len(steps) != 0 {
			t.Errorf("nothing has changed, but there is to do: %v", steps)
		}
		t.Run("whom B lets in", func(t *testing.T) { testWhoIsLetIn(t, b, one, two, three) })
		t.Run("plain port", func(t *testing.T) {
			got := call(t, "GET", "http://"+b.Addr+"/function/f", nil, "DFaaS-Node-ID", one.id, "DFaaS-Token", tokenOf(one.id))
			wantReply(t, got, 403, b.Addr, two.id)
			wantReply(t, call(t, "GET", "http://"+b.Addr+"/function/f", nil), 200, b.Addr, two.id)
		})
		t.Run("another node at B's address", func(t *testing.T) {
			// B's certificate is good for B only, and nothing is sent to it.
			a.addPeers(t, two.at(t, b.TLSAddr), three.at(t, b.TLSAddr))
			before := b.gateway.calls.Load()
			wantReply(t, a.forward(t, three.id), 200, a.decided, one.id)
			a.waitState(t, three.id, haproxy.Down)
			if s, _ := a.server(t, three.id); !strings.HasPrefix(s.Check, "L6RSP") {
				t.Errorf("health check: %s", s.Check)
			}
			if calls := b.gateway.calls.Load(); calls != before {
				t.Errorf("B got %d requests that were meant for C", calls-before)
			}
		})
		t.Run("B in plain HTTP", func(t *testing.T) {
			steps := haproxy.Reconcile([]haproxy.Server{{Name: two.id, Address: two.at(t, b.TLSAddr).Address, State: haproxy.Up, Checked: true}},
				[]haproxy.Peer{two.at(t, b.TLSAddr)})
			if len(steps) != 4 {
				t.Errorf("a server without TLS stays: %v", steps)
			}
		})
		t.Run("removed", func(t *testing.T) {
			eventually(t, "both servers are deleted", func() bool {
				a.reconcile(t)
				_, there := a.server(t, two.id)
				return !there
			})
			a.addPeers(t, two.at(t, b.TLSAddr))
			wantReply(t, a.forward(t, two.id), 200, b.TLSAddr, two.id)
		})
	})
}

// testWhoIsLetIn: only member one is let in by B, and only as itself.
func testWhoIsLetIn(t *testing.T, b *node, one, two, three *member) {
	url := "https://" + b.TLSAddr + "/function/f"
	claim := func(m *member) []string { return []string{"DFaaS-Node-ID", m.id, "DFaaS-Token", tokenOf(m.id)} }
	self, err := selfSigned(one.id)
	if err != nil {
		t.Fatal(err)
	}
	between, err := throughIntermediate(two, one.id)
	if err != nil {
		t.Fatal(err)
	}
	named, err := issuerNamed(two, one.id)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name        string
		certificate *tls.Certificate
		version     uint16
		headers     []string
		status      int // 0: not even a connection
	}{
		{"a peer", one.pair(t), 0, claim(one), 200},
		{"a peer under another's name", one.pair(t), 0, claim(two), 403},
		{"a peer under two names", one.pair(t), 0, append(claim(one), claim(two)...), 403},
		{"a peer that does not say so", one.pair(t), 0, nil, 403},
		{"no certificate", nil, 0, claim(one), 0},
		{"a stranger's", three.pair(t), 0, claim(one), 0},
		{"self-made under a peer's name", self, 0, claim(one), 0},
		{"an older TLS", one.pair(t), tls.VersionTLS12, claim(one), 0},
		// These two need a member, B itself will do.
		{"of a member that makes an authority in another's name", between, 0, claim(one), 0},
		{"of a member that signs in another's name", named, 0, claim(one), 0},
	} {
		status, body, err := callTLS(t.Context(), url, test.certificate, test.version, test.headers...)
		if (err == nil) != (test.status != 0) || status != test.status {
			t.Errorf("%s: %d %q %v, want %d", test.name, status, body, err, test.status)
		}
	}
	if status, _, err := callTLS(t.Context(), "https://"+b.TLSAddr+"/healthz", one.pair(t), 0); err != nil || status != 200 {
		t.Errorf("/healthz: %d %v", status, err)
	}
	if status, _, err := callTLS(t.Context(), "http://"+b.TLSAddr+"/function/f", nil, 0, claim(one)...); err == nil {
		t.Errorf("in plain HTTP: %d", status)
	}
}

// selfSigned is what an outsider can make.
func selfSigned(id string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return sign(leaf(id), leaf(id), key, key)
}

// throughIntermediate makes a certificate of which the issuer's name is another
// member's: by means of an authority of that name, that m vouches for.
func throughIntermediate(m *member, id string) (*tls.Certificate, error) {
	root, err := parse(m.anchor)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	authority := leaf(id)
	authority.IsCA, authority.BasicConstraintsValid, authority.KeyUsage = true, true, x509.KeyUsageCertSign
	middle, err := sign(authority, root, key, m.key)
	if err != nil {
		return nil, err
	}
	last, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	end, err := sign(leaf(id), middle.Leaf, last, key)
	if err != nil {
		return nil, err
	}
	end.Certificate = append(end.Certificate, middle.Certificate...)
	return end, nil
}

// issuerNamed makes a certificate that m signed and that names another member as
// its issuer.
func issuerNamed(m *member, id string) (*tls.Certificate, error) {
	root, err := parse(m.anchor)
	if err != nil {
		return nil, err
	}
	root.RawSubject, root.Subject = nil, pkix.Name{CommonName: id}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return sign(leaf(id), root, key, m.key)
}

func leaf(id string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(4711), Subject: pkix.Name{CommonName: id}, DNSNames: []string{id},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
}

func sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey, by crypto.Signer) (*tls.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		return nil, err
	}
	made, err := x509.ParseCertificate(der)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: made}, err
}

func parse(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	return x509.ParseCertificate(block.Bytes)
}

// TestPeersComeAndGoUnnoticed: other peers are let in and shut out again while
// requests are forwarded; none of these fails. (On a busy machine, some that need
// a new connection do not get it in time and are served here.)
func TestPeersComeAndGoUnnoticed(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		one, two, three := newPeer(t, 1), newPeer(t, 2), newPeer(t, 3)
		a, b := startTLS(t, binary, one), startTLS(t, binary, two)
		a.secure(t, one, two)
		b.secure(t, two, one)
		peer, other := two.at(t, b.TLSAddr), three.at(t, b.TLSAddr)
		a.addPeers(t, peer)
		a.waitState(t, two.id, haproxy.Up)
		callers := a.keepForwarding(t, two.id)
		for round := range 20 {
			if round%2 == 0 {
				a.secure(t, one, two, three)
				b.secure(t, two, one, three)
				a.addPeers(t, peer, other)
			} else {
				a.secure(t, one, two)
				b.secure(t, two, one)
				eventually(t, "the other is deleted", func() bool {
					a.reconcile(t, peer)
					_, there := a.server(t, three.id)
					return !there
				})
			}
			sofar := b.gateway.calls.Load()
			eventually(t, "more requests were forwarded", func() bool { return b.gateway.calls.Load() > sofar+10 })
		}
		callers.stop(t)
	})
}

// forwarding is a number of callers.
type forwarding struct {
	cancel context.CancelFunc
	wait   sync.WaitGroup
	mu     sync.Mutex
	wrong  []error
}

// keepForwarding has requests forwarded to the peer until it is stopped. All must
// be answered 200.
func (n *node) keepForwarding(t *testing.T, to string) *forwarding {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &forwarding{cancel: cancel}
	for range 4 {
		f.wait.Go(func() {
			for ctx.Err() == nil {
				if r := n.forward(t, to); r.status != 200 {
					f.mu.Lock()
					f.wrong = append(f.wrong, fmt.Errorf("%d: %s", r.status, r.body))
					f.mu.Unlock()
				}
			}
		})
	}
	return f
}

func (f *forwarding) stop(t *testing.T) {
	t.Helper()
	f.cancel()
	f.wait.Wait()
	if len(f.wrong) > 0 {
		t.Errorf("%d wrong answers, the first: %v", len(f.wrong), f.wrong[0])
	}
}

// TestRenewal: a new certificate is shown after a reload, with a warning before
// it if it is urgent. No request fails because of it.
func TestRenewal(t *testing.T) {
	t.Parallel()
	one, two := newPeer(t, 1), newPeer(t, 2)
	old, err := peercert.Issue(two.id, two.key, time.Now().Add(20*24*time.Hour-peercert.Lifetime))
	if err != nil {
		t.Fatal(err)
	}
	two.write(t, haproxy.CertificateFile, old.PEM)
	two.write(t, haproxy.AnchorsFile, two.anchor+one.anchor)
	a, b := startTLS(t, haproxytest.Installed, one), startTLS(t, haproxytest.Installed, two)
	a.secure(t, one, two)
	both := anchors(two, one)
	if err := b.Client.Secure(t.Context(), old, both); err != nil {
		t.Errorf("the only one there is: %v", err)
	}
	err = b.Client.Secure(t.Context(), two.own, both)
	if err == nil || !strings.Contains(err.Error(), "ends on "+old.Expires.Format(time.DateOnly)+": reload HAProxy") {
		t.Errorf("it ends soon: %v", err)
	}
	if err := a.Client.Secure(t.Context(), two.own, both); err == nil || !strings.Contains(err.Error(), "certificate of another node: reload") {
		t.Errorf("another node's: %v", err)
	}
	a.secure(t, one, two)
	a.addPeers(t, two.at(t, b.TLSAddr))
	a.waitState(t, two.id, haproxy.Up)
	callers := a.keepForwarding(t, two.id)
	two.write(t, haproxy.CertificateFile, two.own.PEM)
	b.Reload()
	sofar := b.gateway.calls.Load()
	eventually(t, "more requests were forwarded", func() bool { return b.gateway.calls.Load() > sofar+20 })
	callers.stop(t)
	b.secure(t, two, one)
	if shown := shownBy(t, b, one); shown.Cmp(two.own.Serial) != 0 {
		t.Errorf("B shows certificate %v, want %v", shown, two.own.Serial)
	}
	// A new one that is not urgent is not mentioned.
	two.renew(t)
	b.secure(t, two, one)
}

// shownBy returns the serial number of the node's certificate.
func shownBy(t *testing.T, n *node, as *member) *big.Int {
	t.Helper()
	conn, err := tls.Dial("tcp", n.TLSAddr, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{*as.pair(t)}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber
}

func TestTLSAfterAReload(t *testing.T) {
	t.Parallel()
	one, two := newPeer(t, 1), newPeer(t, 2)
	a, b := startTLS(t, haproxytest.Installed, one), startTLS(t, haproxytest.Installed, two)
	both := func() {
		t.Helper()
		a.secure(t, one, two)
		b.secure(t, two, one)
		a.addPeers(t, two.at(t, b.TLSAddr))
	}
	both()
	wantReply(t, a.forward(t, two.id), 200, b.TLSAddr, two.id)
	a.Reload()
	b.Reload()
	// Of what was done at run time nothing is left, but the files are read again.
	if _, _, err := callTLS(t.Context(), "https://"+b.TLSAddr+"/healthz", one.pair(t), 0); err == nil {
		t.Fatal("the reload kept A's anchor: the test tests nothing")
	}
	both()
	wantReply(t, a.forward(t, two.id), 200, b.TLSAddr, two.id)
	two.write(t, haproxy.AnchorsFile, two.anchor+one.anchor)
	b.Reload()
	if _, _, err := callTLS(t.Context(), "https://"+b.TLSAddr+"/healthz", one.pair(t), 0); err != nil {
		t.Errorf("after a reload with A's anchor in the file: %v", err)
	}
}

// TestManyPeers: 2.6 takes as many as fit into its buffer, and says so of the
// others.
func TestManyPeers(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		for _, set := range []struct {
			peers  int
			config string
			fits   bool // also with 2.6
		}{{28, "", true}, {56, "", false}, {56, "global\n    tune.bufsize 32768\n", true}} {
			one := newPeer(t, 1)
			n := startWith(t, haproxytest.Options{Binary: binary, NodeID: one.id, TLSDir: one.dir, Before: set.config})
			info, err := n.Client.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			set.fits = set.fits || !strings.HasPrefix(info.Version, "2.")
			var others []*member
			for i := range set.peers {
				others = append(others, newPeer(t, byte(2+i)))
			}
			n.secure(t, one, others[0])
			err = n.Client.Secure(t.Context(), one.own, anchors(append(others, one)...))
			if set.fits && err != nil || !set.fits && !errors.Is(err, haproxy.ErrTooManyPeers) {
				t.Errorf("%d peers: %v", set.peers, err)
			}
			if err != nil && !strings.Contains(err.Error(), "tune.bufsize in the global section to 32768") {
				t.Errorf("no hint in %q", err)
			}
			// What was let in before is let in whatever became of that.
			for i, m := range []*member{others[0], others[set.peers-1]} {
				_, _, err := callTLS(t.Context(), "https://"+n.TLSAddr+"/healthz", m.pair(t), 0)
				if want := set.fits || i == 0; (err == nil) != want {
					t.Errorf("peer %d of %d: %v", i*(set.peers-1)+1, set.peers, err)
				}
			}
		}
	})
}

func TestTLSErrorsNameTheFix(t *testing.T) {
	t.Parallel()
	one, two := newPeer(t, 1), newPeer(t, 2)
	plain := startNode(t, haproxytest.Installed, one.id)
	client, err := haproxy.NewTLS(testvalue.Path(plain.Socket), one.dir)
	if err != nil {
		t.Fatal(err)
	}
	err = client.Secure(t.Context(), one.own, anchors(one))
	if err == nil || !strings.Contains(err.Error(), "set DFAAS_TLS_BIND, and DFAAS_TLS_DIR="+one.dir+", and restart it") {
		t.Errorf("without a TLS port: %v", err)
	}
	if _, err := client.Apply(t.Context(), []haproxy.Step{{Op: haproxy.Add, Peer: two.at(t, "127.0.0.1:9")}}); err == nil {
		t.Error("a server was added without a certificate to show")
	}
	if _, err := plain.Client.Apply(t.Context(), []haproxy.Step{{Op: haproxy.Add, Peer: two.at(t, "127.0.0.1:9")}}); err == nil {
		t.Error("a client without a directory added a server with TLS")
	}
	for _, dir := range []string{"", "relative", "/a b", "/a;b", "/a\n", "/a\\"} {
		if _, err := haproxy.NewTLS(testvalue.Path(plain.Socket), dir); err == nil {
			t.Errorf("directory %q was accepted", dir)
		}
	}
}
