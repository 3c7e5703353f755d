package doctor

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/dfaas/dfaas/haproxy"
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

func gatherHTTP(ctx context.Context, address string) httpFacts {
	if address == "" {
		return httpFacts{err: errors.New("http_address is not set")}
	}
	health, err := ask(ctx, address, pathHealth, "")
	if err != nil {
		return httpFacts{err: err}
	}
	forged, err := ask(ctx, address, pathForged, forgedPeer)
	if err != nil {
		return httpFacts{err: err}
	}
	return httpFacts{status: health.StatusCode, nodeID: health.Header.Get(haproxy.HeaderNodeID), forged: forged.StatusCode}
}

// ask makes one request, as a peer unless that is "", and drops the body of
// the answer.
func ask(ctx context.Context, address, path, peer string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return nil, err
	}
	if peer != "" {
		request.Header.Set(haproxy.HeaderNodeID, peer)
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
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
