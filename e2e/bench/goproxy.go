package bench

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/limit"
)

// GoProxyCommand is the command of this program that runs ServeGoProxy, with the
// addresses of gateway and peer, and a listener as descriptor 3.
const GoProxyCommand = "go-proxy"

// ServeGoProxy is what one might write instead of DFaaS: a reverse proxy by the
// standard library that serves a function here within its rate, and sends what is
// beyond it to a peer. It has the usual adjustments: kept connections, reused buffers.
func ServeGoProxy(ctx context.Context, l net.Listener, gateway, peer string) error {
	limits := make(map[string]*rate.Limiter, manyFunctions)
	for i := range manyFunctions {
		limits[functionName(i)] = rate.NewLimiter(limit.MaxRate, limit.MaxRate/2)
	}
	here, there := &url.URL{Scheme: "http", Host: gateway}, &url.URL{Scheme: "http", Host: peer}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			name, _, _ := strings.Cut(strings.TrimPrefix(r.In.URL.Path, "/function/"), "/")
			target := here
			if of := limits[name]; of != nil && !of.Allow() {
				target = there
			}
			r.SetURL(target)
			r.SetXForwarded()
		},
		ModifyResponse: func(r *http.Response) error {
			r.Header.Set(haproxy.HeaderNodeID, nodeID())
			return nil
		},
		Transport: &http.Transport{
			MaxIdleConns: 512, MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Minute, DisableCompression: true,
			DialContext: (&net.Dialer{Timeout: time.Second}).DialContext,
		},
		BufferPool: new(buffers),
		ErrorLog:   log.New(io.Discard, "", 0),
	}
	server := &http.Server{Handler: proxy, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // the error of Serve says it all
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// buffers are reused for copying bodies.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }
