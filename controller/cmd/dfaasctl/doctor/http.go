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
}

func gatherHTTP(ctx context.Context, address string) httpFacts {
	if address == "" {
		return httpFacts{err: errors.New("http_address is not set")}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/healthz", nil)
	if err != nil {
		return httpFacts{err: err}
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		return httpFacts{err: err}
	}
	response.Body.Close()
	return httpFacts{status: response.StatusCode, nodeID: response.Header.Get(haproxy.HeaderNodeID)}
}

func httpChecks() []check {
	return []check{
		{"http address", judgeHealthz},
		{"node id", judgeNodeID},
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
		return fail("start the gateway: while it is down, peers send nothing here", "%s/healthz answers 503", address)
	case h.status != http.StatusOK:
		return fail("/healthz must go to "+haproxy.BackendLocal+": see docs/install.md", "%s/healthz answers %d", address, h.status)
	default:
		return ok("%s/healthz answers 200", address)
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

// ownID is the node's id as the controller says it, or the identity file.
func (f *Facts) ownID() string {
	if f.Controller.status.NodeID != "" {
		return f.Controller.status.NodeID
	}
	return f.Trust.identityID
}
