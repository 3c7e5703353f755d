package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/dfaas/dfaas/controller/config"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/peercert"
	"github.com/dfaas/dfaas/spoa/peerid"
)

// httpFacts is what peers get when they ask this node's HAProxy.
type httpFacts struct {
	err    error
	status int
	nodeID string // header of the answer
	// forged is the status that a caller got who claimed to be a peer.
	forged int
}

// Paths that are asked for, and who asks for the second.
const (
	pathHealth = "/healthz"
	pathForged = "/function/dfaas-doctor"
	forgedPeer = "dfaas-doctor"
)

func gatherHTTP(ctx context.Context, c *config.Config) httpFacts {
	if c.HTTPAddress == "" {
		return httpFacts{err: errors.New("http_address is not set")}
	}
	base, transport := "http://"+c.HTTPAddress, &http.Transport{DisableKeepAlives: true}
	if c.PeerTLS {
		var err error
		if transport.TLSClientConfig, err = asItself(filepath.Join(c.TLSDir, haproxy.CertificateFile)); err != nil {
			return httpFacts{err: err}
		}
		base = "https://" + c.HTTPAddress
	}
	health, err := ask(ctx, transport, base+pathHealth, "")
	if err != nil {
		return httpFacts{err: err}
	}
	forged, err := ask(ctx, transport, base+pathForged, forgedPeer)
	if err != nil {
		return httpFacts{err: err}
	}
	return httpFacts{status: health.StatusCode, nodeID: health.Header.Get(haproxy.HeaderNodeID), forged: forged.StatusCode}
}

// asItself makes connections as this node's HAProxy would to itself: with its
// certificate, to one with a certificate of the same node.
func asItself(file string) (*tls.Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	id := pair.Leaf.Subject.CommonName
	key, err := peerid.Parse(id)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	anchor, err := peercert.Anchor(id, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(anchor))
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots, ServerName: id, MinVersion: tls.VersionTLS13}, nil
}

// ask makes one request, as a peer unless that is "", and drops the body of
// the answer.
func ask(ctx context.Context, transport http.RoundTripper, address, peer string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	if peer != "" {
		request.Header.Set(haproxy.HeaderNodeID, peer)
	}
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // the address is named by the verdict
		}
		return nil, err
	}
	return response, response.Body.Close()
}

func httpChecks() []check {
	return []check{
		{"http address", judgeHealthz},
		{"node id", judgeNodeID},
		{"forged peer", judgeForged},
	}
}

func judgeHealthz(f *Facts) Verdict {
	address := f.Config.HTTPAddress
	switch h := f.HTTP; {
	case address == "":
		return skip() // the configuration is not valid, which is said already
	case f.Config.PeerTLS && h.err != nil:
		return unreachable(fmt.Errorf("%s: %w", address, h.err),
			"with peer_tls, http_address must be where HAProxy's frontend listens with TLS (DFAAS_TLS_BIND); see docs/install.md")
	case h.err != nil:
		return fail("http_address must be where HAProxy's frontend listens (DFAAS_BIND), as peers reach it", "%s: %s", address, oneLine(h.err))
	case h.status == http.StatusServiceUnavailable:
		return fail("start the gateway: while it is down, peers send nothing here", "%s%s answers 503", address, pathHealth)
	case h.status != http.StatusOK:
		return fail("/healthz must go to "+haproxy.BackendLocal+": see docs/install.md", "%s%s answers %d", address, pathHealth, h.status)
	default:
		return ok("%s%s answers 200", address, pathHealth)
	}
}

// judgeNodeID compares the id that HAProxy writes into answers with the node's.
func judgeNodeID(f *Facts) Verdict {
	own := f.ownID()
	mend := "write DFAAS_NODE_ID=" + own + " to /etc/default/haproxy and restart (not reload) HAProxy"
	switch got := f.HTTP.nodeID; {
	case f.HTTP.err != nil || own == "":
		return skip()
	case got == own:
		return ok("%s", own)
	case got == "":
		return fail("/healthz must go to "+haproxy.BackendLocal+": see docs/install.md",
			"answers at %s have no header %s", f.Config.HTTPAddress, haproxy.HeaderNodeID)
	default:
		return warn(mend, "HAProxy says %q, the node is %s", got, own)
	}
}

// judgeForged tells whether dfaas-spoa really decides: health checks may pass
// while its answers never arrive. Without a fresh table all calls are served
// here, also those of forged peers, and that is said already.
func judgeForged(f *Facts) Verdict {
	switch up, _ := f.HAProxy.spoa.up(); {
	case f.HTTP.err != nil || f.SPOA.err != nil || !f.SPOA.health.Fresh || !up:
		return skip()
	case f.HTTP.forged != http.StatusForbidden:
		return fail("the frontend needs `filter spoe` and `send-spoe-group` (see docs/install.md); "+
			"dfaas.cfg, dfaas-spoe.conf and dfaas-spoa must be of the same version",
			"got %d instead of 403: dfaas-spoa decides nothing, so no call is forwarded and no peer is checked", f.HTTP.forged)
	default:
		return ok("is turned away: dfaas-spoa decides")
	}
}

// ownID is the node's id as the controller says it, or the identity file.
func (f *Facts) ownID() string {
	if f.Controller.status.NodeID != "" {
		return f.Controller.status.NodeID
	}
	return f.Trust.identityID
}
