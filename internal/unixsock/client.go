package unixsock

import (
	"context"
	"net"
	"net/http"
	"time"
)

// Transport connects to the socket, whatever the URL's host. It keeps a
// connection or two for the next requests, for a minute.
func Transport(path Path) *http.Transport {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return path.Dial(ctx)
	}
	return &http.Transport{DialContext: dial, MaxIdleConns: 2, IdleConnTimeout: time.Minute, DisableCompression: true}
}

// Client asks the server at the socket, with a connection for each request, so
// that there is nothing to close. A whole exchange takes at most the timeout; 0:
// the contexts of the requests bound it.
func Client(path Path, timeout time.Duration) *http.Client {
	transport := Transport(path)
	transport.DisableKeepAlives = true
	return &http.Client{Transport: transport, Timeout: timeout}
}
