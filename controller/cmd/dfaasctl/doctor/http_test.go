package doctor

import (
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dfaas/dfaas/controller/config"
	"github.com/dfaas/dfaas/controller/identity"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
)

// TestGatherHTTPS asks a real HAProxy over TLS, and then one of another node.
func TestGatherHTTPS(t *testing.T) {
	var nodes [2]config.Config
	for i := range nodes {
		id, err := identity.Generate()
		if err != nil {
			t.Fatal(err)
		}
		c := config.Config{PeerTLS: true, TLSDir: t.TempDir()}
		if err := identity.NewCertificates(id, c.TLSDir).Prepare(time.Now()); err != nil {
			t.Fatal(err)
		}
		proxy := haproxytest.Start(t, haproxytest.Options{NodeID: id.String(), TLSDir: c.TLSDir})
		c.HTTPAddress = proxy.TLSAddr
		nodes[i] = c
		got := gatherHTTP(t.Context(), &c)
		if got.err != nil || got.nodeID != id.String() || got.forged != http.StatusForbidden {
			t.Errorf("got %+v", got)
		}
	}
	wrong := nodes[0]
	wrong.HTTPAddress = nodes[1].HTTPAddress
	if got := gatherHTTP(t.Context(), &wrong); got.err == nil {
		t.Errorf("another node passed for this one: %+v", got)
	}
	wrong.TLSDir = t.TempDir()
	if got := gatherHTTP(t.Context(), &wrong); !errors.Is(got.err, fs.ErrNotExist) {
		t.Errorf("without a certificate: %+v", got)
	}
}

func TestGatherHTTP(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(haproxy.HeaderNodeID, self)
		switch {
		case r.Header.Get(haproxy.HeaderNodeID) != "":
			w.WriteHeader(http.StatusForbidden)
		case r.URL.Path != "/healthz":
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	got := gatherHTTP(t.Context(), &config.Config{HTTPAddress: strings.TrimPrefix(server.URL, "http://")})
	if want := (httpFacts{status: 200, nodeID: self, forged: 403}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
