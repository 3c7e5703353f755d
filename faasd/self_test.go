package faasd

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// TestAsync: dfaas-provider says whether it takes asynchronous calls; of others the
// route tells, as OpenFaaS' gateway has it: POST only, and only with NATS.
func TestAsync(t *testing.T) {
	says := func(async string) string {
		return strings.Replace(embeddedInfo, `"arch"`, `"async":`+async+`,"arch"`, 1)
	}
	for name, test := range map[string]struct {
		info  string // "": 404
		route int    // status of other methods than POST at /async-function/; 0: 404
		async string
		want  bool
		asked int // requests for the route
	}{
		"the embedded provider with a queue":    {info: says("true"), want: true},
		"the embedded provider without a queue": {info: says("false"), route: 405},
		"an earlier embedded provider":          {info: embeddedInfo, route: 501, asked: 1},
		"faasd with NATS":                       {info: faasdInfo, route: 405, want: true, asked: 1},
		"faasd's provider alone":                {info: bareFaasdInfo, asked: 1},
		"OpenFaaS without NATS":                 {info: netesInfo, asked: 1},
		"another, which answers to anything":    {route: 200, asked: 1},
		"told that it has one":                  {info: faasdInfo, async: AsyncOn, want: true},
		"told that it has none":                 {info: says("true"), async: AsyncOff},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case strings.HasPrefix(r.URL.Path, "/async-function/"):
					if asked.Add(1); r.Method == http.MethodPost || test.route == 0 {
						http.NotFound(w, r)
						return
					}
					w.WriteHeader(test.route)
				case r.URL.Path == "/system/info" && test.info != "":
					fmt.Fprint(w, test.info)
				case r.URL.Path == "/system/functions":
					fmt.Fprint(w, "[]")
				default:
					http.NotFound(w, r)
				}
			}))
			defer server.Close()
			c, err := New(Options{URL: server.URL, Async: test.async})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			for range 2 { // it is not asked at every look
				list, err := c.List(context.Background())
				if err != nil || list.Async != test.want {
					t.Errorf("%v, %v", list.Async, err)
				}
			}
			if n := int(asked.Load()); n != test.asked {
				t.Errorf("asked %d times, not %d", n, test.asked)
			}
		})
	}
}
