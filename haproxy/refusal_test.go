package haproxy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dfaas/dfaas/haproxy/haproxytest"
)

// client sends a body of that size to a function that is refused with a status,
// and returns the one that it got to read.
type client struct {
	name string
	send func(ctx context.Context, n *node, tlsAddr string, status, size int) (string, error)
}

const pythonClient = `
import http.client, sys
host, status, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
c = http.client.HTTPConnection(host, timeout=30)
c.request("POST", "/function/f", b"x" * size, {"Test-Action": "deny", "Test-Status": status})
print(c.getresponse().status)
`

func clients() []client {
	run := func(cmd *exec.Cmd) (string, error) {
		output, err := cmd.CombinedOutput()
		if err != nil {
			lines := strings.Split(strings.TrimSpace(string(output)), "\n")
			return lines[len(lines)-1], err
		}
		return strings.TrimSpace(string(output)), nil
	}
	inGo := func(ctx context.Context, transport *http.Transport, url string, status, size int) (string, error) {
		defer transport.CloseIdleConnections()
		req, err := http.NewRequestWithContext(ctx, "POST", url, bytes.NewReader(make([]byte, size)))
		if err != nil {
			return "", err
		}
		req.Header.Set("Test-Action", "deny")
		req.Header.Set("Test-Status", fmt.Sprint(status))
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); err != nil || !strings.HasSuffix(string(text), "\n") {
			return fmt.Sprint(resp.StatusCode), errors.Join(err, fmt.Errorf("body %q", text))
		}
		return fmt.Sprint(resp.StatusCode), nil
	}
	return []client{
		{"python", func(ctx context.Context, n *node, _ string, status, size int) (string, error) {
			return run(exec.CommandContext(ctx, "python3", "-c", pythonClient, n.decided, fmt.Sprint(status), fmt.Sprint(size)))
		}},
		{"curl", func(ctx context.Context, n *node, _ string, status, size int) (string, error) {
			cmd := exec.CommandContext(ctx, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Test-Action: deny", "-H", "Expect:",
				"-H", fmt.Sprint("Test-Status: ", status), "--data-binary", "@-", "http://"+n.decided+"/function/f")
			cmd.Stdin = bytes.NewReader(make([]byte, size))
			return run(cmd)
		}},
		{"Go", func(ctx context.Context, n *node, _ string, status, size int) (string, error) {
			return inGo(ctx, new(http.Transport), "http://"+n.decided+"/function/f", status, size)
		}},
		{"Go over HTTP/2", func(ctx context.Context, n *node, tlsAddr string, status, size int) (string, error) {
			transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
			return inGo(ctx, transport, "https://"+tlsAddr+"/function/f", status, size)
		}},
	}
}

// TestRefusalsArrive: who is refused reads why, however much was to be sent.
func TestRefusalsArrive(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		n, tlsAddr := startRefusing(t, binary)
		for _, c := range clients() {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel() // most of it is the second for which HAProxy reads on
				for _, test := range []struct{ status, size int }{
					{404, 4_000_000}, {503, 4_000_000}, {429, 4_000_000}, {429, 1_000_000}, {501, 200_000}, {429, 200_000}, {429, 1000},
				} {
					const tries = 5
					var tried sync.WaitGroup
					errs := make([]error, tries)
					for i := range errs {
						tried.Go(func() {
							// A busy machine may not send it all within the second for which HAProxy reads on.
							for again := 3; again > 0; again-- {
								ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
								got, err := c.send(ctx, n, tlsAddr, test.status, test.size)
								cancel()
								if got == fmt.Sprint(test.status) && err == nil {
									errs[i] = nil
									return
								}
								errs[i] = fmt.Errorf("read %q: %w", got, err)
							}
						})
					}
					tried.Wait()
					if err := errors.Join(errs...); err != nil {
						t.Errorf("%d with %d bytes: %v", test.status, test.size, err)
					}
				}
			})
		}
	})
}

// startRefusing starts a node with a frontend for HTTP/2 as an operator has one.
func startRefusing(t *testing.T, binary haproxytest.Binary) (n *node, tlsAddr string) {
	t.Helper()
	tlsAddr = haproxytest.FreeAddr(t)
	n = &node{gateway: newGateway(t), decided: haproxytest.FreeAddr(t)}
	frontend := fmt.Sprintf(decidedFrontend, n.decided) +
		fmt.Sprintf(strings.Replace(decidedFrontend, "fe_decided", "fe_decided_tls", 1), tlsAddr+" ssl crt "+newPeer(t, 1).dir+"/node.pem alpn h2,http/1.1")
	n.HAProxy = haproxytest.Start(t, haproxytest.Options{Binary: binary, NodeID: idA, Gateway: n.gateway.addr(), Config: frontend})
	return n, tlsAddr
}
