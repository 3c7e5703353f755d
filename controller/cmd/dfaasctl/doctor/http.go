package doctor

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dfaas/dfaas/controller/config"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/peercert"
	"github.com/dfaas/dfaas/internal/unixsock"
	"github.com/dfaas/dfaas/spoa/control"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/peerid"
	"github.com/dfaas/dfaas/spoa/token"
)

// httpFacts is what peers get when they ask this node's HAProxy.
type httpFacts struct {
	err    error
	status int
	nodeID string // header of the answer
	forged forgedFacts
}

// forgedFacts is what became of a caller who claimed to be a peer.
type forgedFacts struct {
	status  int
	counted bool // dfaas-spoa refused somebody meanwhile who is no peer
	// countErr is why its counters are not known.
	countErr error
}

const (
	pathHealth = "/healthz"
	pathForged = "/function/dfaas-doctor"
	// forgedToken looks like a token: HAProxy itself refuses what does not.
	forgedToken = "dfaas.doctor.forged"
	// forgeries is how often a forged peer tries, forgeryPause how long it waits before it
	// tries again: an agent that is busy may miss the time for its answer, and one that has
	// done so often is asked that often only.
	forgeries    = 20
	forgeryPause = 100 * time.Millisecond
)

func gatherHTTP(ctx context.Context, c *config.Config) httpFacts {
	if c.HTTPAddress == "" {
		return httpFacts{err: errors.New("http_address is not set")}
	}
	base, transport := "http://"+c.HTTPAddress, &http.Transport{DisableKeepAlives: true}
	// An id that is none of a peer, and that only dfaas-spoa knows not to be: with
	// TLS it must be the one whose certificate is shown, this node's own.
	forger, err := madeUpID()
	if err == nil && c.PeerTLS {
		base = "https://" + c.HTTPAddress
		transport.TLSClientConfig, forger, err = asItself(filepath.Join(c.TLSDir, haproxy.CertificateFile))
	}
	if err != nil {
		return httpFacts{err: err}
	}
	health, err := ask(ctx, transport, base+pathHealth, "")
	if err != nil {
		return httpFacts{err: err}
	}
	forged, err := forge(ctx, transport, base+pathForged, forger, c.SPOASocket)
	if err != nil {
		return httpFacts{err: err}
	}
	return httpFacts{status: health.StatusCode, nodeID: health.Header.Get(haproxy.HeaderNodeID), forged: forged}
}

func madeUpID() (string, error) {
	key, _, err := ed25519.GenerateKey(nil)
	return peerid.FromKey(key).String(), err
}

// forge claims to be that peer until dfaas-spoa says what everybody expects of
// it, or a few times. What it counts reports whether it was asked.
func forge(ctx context.Context, transport http.RoundTripper, address, peer, socket string) (forgedFacts, error) {
	path, err := unixsock.ParseSetting("spoa_socket", socket)
	if err != nil {
		return forgedFacts{}, err
	}
	client := control.New(path)
	defer client.Close()
	var f forgedFacts
	for i := range forgeries {
		if i > 0 {
			select {
			case <-ctx.Done():
				return f, nil
			case <-time.After(forgeryPause):
			}
		}
		before, errBefore := client.Meter(ctx)
		answer, err := ask(ctx, transport, address, peer)
		if err != nil {
			return forgedFacts{}, err
		}
		after, errAfter := client.Meter(ctx)
		f = forgedFacts{answer.StatusCode, unknownPeers(after) > unknownPeers(before), cmp.Or(errBefore, errAfter)}
		if f.countErr != nil || f.turnedAway() {
			break
		}
	}
	return f, nil
}

func unknownPeers(r meter.Report) uint64 { return r.Denied[token.UnknownPeer.String()] }

// turnedAway reports whether dfaas-spoa did it: the same status alone could be of
// another's making.
func (f forgedFacts) turnedAway() bool { return f.status == http.StatusForbidden && f.counted }

// asItself makes connections as this node's HAProxy would to itself: with its
// certificate, to one with a certificate of the same node, whose id it returns.
func asItself(file string) (_ *tls.Config, id string, _ error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, "", err
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", file, err)
	}
	id = pair.Leaf.Subject.CommonName
	own, err := peerid.Parse(id)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", file, err)
	}
	anchor, err := peercert.Anchor(id, own.Key())
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", file, err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(anchor))
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots, ServerName: id, MinVersion: tls.VersionTLS13}, id, nil
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
		request.Header.Set(haproxy.HeaderToken, forgedToken)
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
	case h.err != nil && f.HAProxy.err != nil && !errors.Is(f.HAProxy.err, haproxy.ErrPermission):
		return fail("see haproxy", "%s: %s", address, oneLine(h.err))
	case h.err != nil && f.addressWarning() != "":
		return fail("set http_address to where peers reach HAProxy, on an address of this machine, and restart dfaas-controller",
			"%s (%s)", f.addressWarning(), oneLine(h.err))
	case f.Config.PeerTLS && h.err != nil:
		return unreachable(fmt.Errorf("%s: %w", address, h.err),
			"with peer_tls, http_address must be where HAProxy's frontend listens with TLS (DFAAS_TLS_BIND); see docs/install.md")
	case h.err != nil && f.bindIsIPv4():
		return fail("set DFAAS_BIND=[::]:PORT in /etc/default/haproxy and restart HAProxy (docs/install.md, a node without IPv4)",
			"%s: DFAAS_BIND%s is for IPv4 only: %s", address, f.said(haproxy.EnvBind), oneLine(h.err))
	case h.err != nil:
		return fail("http_address must be where HAProxy's frontend listens (DFAAS_BIND"+f.said(haproxy.EnvBind)+"), as peers reach it",
			"%s: %s", address, oneLine(h.err))
	case h.status == http.StatusServiceUnavailable:
		return fail("start the gateway: while it is down, peers send nothing here", "%s%s answers 503", address, pathHealth)
	case h.status != http.StatusOK:
		return fail("/healthz must go to "+haproxy.BackendLocal+": see docs/install.md", "%s%s answers %d", address, pathHealth, h.status)
	case f.Config.FamilyWarning() != "":
		return warn("correct listen in its configuration and restart dfaas-controller", "%s", f.Config.FamilyWarning())
	case f.addressWarning() != "":
		return warn("if peers reach it by NAT, list it in their allow_addresses; else correct http_address and restart dfaas-controller",
			"%s", f.addressWarning())
	default:
		return ok("%s%s answers 200", address, pathHealth)
	}
}

// said is a setting as HAProxy has it, to stand behind its name.
func (f *Facts) said(setting string) string {
	if value := f.HAProxy.settings[setting]; value != "" {
		return "=" + value
	}
	return ""
}

// bindIsIPv4 reports whether http_address is of IPv6, and HAProxy listens at a port
// without an address, which it does for IPv4 only.
func (f *Facts) bindIsIPv4() bool {
	address, err := netip.ParseAddrPort(f.Config.HTTPAddress)
	bind := f.HAProxy.settings[haproxy.EnvBind]
	port := strings.LastIndexByte(bind, ':')
	return err == nil && address.Addr().Unmap().Is6() && port >= 0 && slices.Contains([]string{"", "*", "0.0.0.0"}, bind[:port])
}

// addressWarning says what speaks against http_address.
func (f *Facts) addressWarning() string {
	address, err := netip.ParseAddrPort(f.Config.HTTPAddress)
	if err != nil || len(f.Own) == 0 || address.Addr().IsLoopback() {
		return ""
	}
	return config.AddressWarning(address.Addr(), f.Own)
}

// judgeNodeID compares the id that HAProxy writes into answers with the node's.
func judgeNodeID(f *Facts) Verdict {
	own := f.ownID()
	hint := "write DFAAS_NODE_ID=" + own + " to /etc/default/haproxy and restart (not reload) HAProxy"
	switch got := f.HTTP.nodeID; {
	case f.HTTP.err != nil || own == "":
		return skip()
	case got == own:
		return ok("%s", own)
	case got == "":
		return fail("/healthz must go to "+haproxy.BackendLocal+": see docs/install.md",
			"answers at %s have no header %s", f.Config.HTTPAddress, haproxy.HeaderNodeID)
	case f.HAProxy.settings[haproxy.EnvNodeID] == own:
		return fail("set http_address to this node's own HAProxy and restart dfaas-controller",
			"what answers at %s is another node, %s", f.Config.HTTPAddress, got)
	default:
		return warn(hint, "HAProxy says %q, the node is %s", got, own)
	}
}

// judgeForged reports whether dfaas-spoa really decides: health checks may pass
// while its answers never arrive, or it is never asked. Without a fresh table all
// calls are served here, also those of forged peers, and that is said already.
func judgeForged(f *Facts) Verdict {
	const hint = "the frontend at http_address needs the lines `filter spoe` and `http-request send-spoe-group dfaas route` " +
		"(docs/install.md, your own frontend); dfaas.cfg, dfaas-spoe.conf and dfaas-spoa must be of the same version"
	forged := f.HTTP.forged
	up, _ := f.HAProxy.spoa.up()
	unknown := cmp.Or(f.SPOA.err, forged.countErr)
	switch {
	case f.HTTP.err != nil || !up || f.SPOA.err == nil && !f.SPOA.health.Fresh:
		return skip()
	case unknown != nil:
		return warn("run dfaasctl doctor as root; spoa_socket must be the control socket of the dfaas-spoa that HAProxy asks",
			"got %d, but not checked whether that was dfaas-spoa: its counters cannot be read: %s", forged.status, oneLine(unknown))
	case forged.status != http.StatusForbidden:
		return fail(hint, "got %d instead of 403: dfaas-spoa decides nothing, so no call is forwarded and no peer is checked", forged.status)
	case !forged.counted:
		return fail(hint, "got 403, but dfaas-spoa counted no refusal: it is not asked, so no call is forwarded and no peer is checked")
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
