package doctor

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/dfaas/dfaas/haproxy"
)

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
	got := gatherHTTP(t.Context(), strings.TrimPrefix(server.URL, "http://"))
	if want := (httpFacts{status: 200, nodeID: self, forged: 403}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
