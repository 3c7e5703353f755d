package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

// How a long-running process is started, stopped and started again.
const (
	startTimeout = 15 * time.Second       // until it accepts connections
	startPoll    = 20 * time.Millisecond  // between two attempts to connect
	backoffMin   = 100 * time.Millisecond // before the first restart
	backoffMax   = 10 * time.Second       // before any restart
	backoffReset = 10 * time.Second       // a process that lived so long starts at backoffMin
	stopGrace    = 3 * time.Second        // between SIGTERM and SIGKILL
)

var errDown = errors.New("its process has died and is about to be started again")

// phase is the state of an upstream; changed is closed when it is over.
type phase struct {
	ready, starting bool
	changed         chan struct{}
}

// upstream is the one long-running process of a function in HTTP mode.
type upstream struct {
	runner    *runner
	port      *reservedPort
	transport *http.Transport
	proxy     *httputil.ReverseProxy
	phase     atomic.Pointer[phase]
	stop      context.CancelFunc
	ended     chan struct{}
}

// startUpstream starts the process and keeps it running until close.
func startUpstream(r *runner, maxOutput int64, logger zerolog.Logger) (*upstream, error) {
	port, err := reservePort()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	u := &upstream{runner: r, port: port, stop: stop, ended: make(chan struct{})}
	u.transport = &http.Transport{
		DialContext:         dialProcess,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     30 * time.Second,
		DisableCompression:  true,
	}
	u.proxy = newProxy(port.port, u.transport, maxOutput, logger)
	u.enter(phase{starting: true})
	go u.supervise(ctx)
	return u, nil
}

// dialProcess connects to a process.
func dialProcess(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return processConn{conn}, nil
}

// processConn is a connection to a process that may answer, and close, before it
// has read the request: what it does not take goes to nobody, so that the answer
// is still read. http.Transport would give up at the first write that fails; that
// the process has closed it learns by reading.
type processConn struct{ net.Conn }

func (c processConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return len(p), nil
	}
	return n, err
}

// close ends the process, by force after stopGrace, and gives the port free.
func (u *upstream) close() {
	u.stop()
	<-u.ended
	u.transport.CloseIdleConnections()
}

func (u *upstream) ready() bool { return u.phase.Load().ready }

func (u *upstream) enter(p phase) {
	p.changed = make(chan struct{})
	if old := u.phase.Swap(&p); old != nil {
		close(old.changed)
	}
}

// supervise runs one process after the other until ctx ends.
func (u *upstream) supervise(ctx context.Context) {
	defer close(u.ended)
	defer u.port.close()
	backoff := backoffMin
	for {
		started := time.Now()
		err := u.runOnce(ctx)
		if ctx.Err() != nil {
			u.enter(phase{})
			return
		}
		if time.Since(started) >= backoffReset {
			backoff = backoffMin
		}
		u.runner.book.add(fmt.Sprintf("process ended: %v; next start in %s", err, backoff))
		u.enter(phase{})
		select {
		case <-ctx.Done():
			return
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, backoffMax)
		u.enter(phase{starting: true})
	}
}

// runOnce runs one process to its end.
func (u *upstream) runOnce(ctx context.Context) error {
	alive, kill := context.WithCancel(context.Background())
	defer kill()
	cmd := u.runner.command(alive)
	port := strconv.Itoa(u.port.port)
	for i := range cmd.Args {
		cmd.Args[i] = strings.ReplaceAll(cmd.Args[i], "$PORT", port)
	}
	cmd.Env = append(cmd.Env, "PORT="+port, "http_port="+port)
	cmd.Stdout = u.runner.book.writer
	exited := make(chan error, 1)
	if err := u.runner.start(cmd); err != nil {
		return fmt.Errorf("start the process: %w", err)
	}
	go func() {
		err := reap(cmd)
		u.runner.ended()
		exited <- cmp.Or(err, errors.New("exit status 0"))
	}()

	select {
	case err := <-exited:
		return err
	case <-ctx.Done():
	case ok := <-u.accepts(alive):
		if !ok {
			kill()
			<-exited
			return fmt.Errorf("it accepts no connection on port %s (variable PORT) within %s", port, startTimeout)
		}
		u.enter(phase{ready: true})
		select {
		case err := <-exited:
			return err
		case <-ctx.Done():
		}
	}
	return terminate(cmd, exited, kill)
}

// terminate asks the process to end, and makes it end after stopGrace.
func terminate(cmd *exec.Cmd, exited <-chan error, kill func()) error {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	select {
	case err := <-exited:
		return err
	case <-time.After(stopGrace):
		kill()
		return <-exited
	}
}

// accepts tells once whether the process accepts connections within startTimeout.
func (u *upstream) accepts(ctx context.Context) <-chan bool {
	result := make(chan bool, 1)
	go func() {
		ctx, cancel := context.WithTimeout(ctx, startTimeout)
		defer cancel()
		ticker := time.NewTicker(startPoll)
		defer ticker.Stop()
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(u.port.port))
		for {
			var dialer net.Dialer
			if conn, err := dialer.DialContext(ctx, "tcp", address); err == nil {
				conn.Close()
				result <- true
				return
			}
			select {
			case <-ctx.Done():
				result <- false
				return
			case <-ticker.C:
			}
		}
	}()
	return result
}

// await waits until the process takes calls; it fails when the process is down.
func (u *upstream) await(ctx context.Context) error {
	for {
		switch now := u.phase.Load(); {
		case now.ready:
			return nil
		case !now.starting:
			return errDown
		default:
			select {
			case <-now.changed:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}

// serve answers one call through the process.
func (u *upstream) serve(c *call, f *function) {
	ctx, cancel := context.WithTimeoutCause(c.r.Context(), u.runner.spec.timeout, errTimeout)
	defer cancel()
	if err := u.await(ctx); err != nil {
		u.fail(c.w, f, err)
		return
	}
	rest := *c.r.URL
	rest.Path, rest.RawPath = c.path, rawRest(c.r.URL.RawPath, c.path)
	r := c.r.WithContext(context.WithValue(ctx, uploadKey{}, c.upload))
	r.URL = &rest
	switch {
	case c.upload != nil:
		if err := http.NewResponseController(c.w).EnableFullDuplex(); err != nil {
			answerProxyError(c.w, fmt.Errorf("stream in both directions: %w", err))
			return
		}
		r.Body = io.NopCloser(c.upload)
		drainRest := c.upload.endWith(ctx)
		defer func() {
			_ = http.NewResponseController(c.w).Flush()
			drainRest()
		}()
	case c.body != nil:
		if err := bodyFrom(r, c.body); err != nil {
			answerProxyError(c.w, err)
			return
		}
	}
	u.proxy.ServeHTTP(c.w, r)
}

// uploadKey finds the body of a request, an *upload that may be nil, in its
// context.
type uploadKey struct{}

func uploadOf(r *http.Request) *upload {
	u, _ := r.Context().Value(uploadKey{}).(*upload)
	return u
}

// bodyFrom lets r have the body that was read already.
func bodyFrom(r *http.Request, body *os.File) error {
	info, err := body.Stat()
	if err != nil {
		return fmt.Errorf("look at the request body: %w", err)
	}
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(body), info.Size(), nil
	return nil
}

func (u *upstream) fail(w *recorder, f *function, err error) {
	if errors.Is(err, errDown) {
		w.Header().Set("Retry-After", "1")
		w.Header().Set(headerInternal, providerName)
		http.Error(w, fmt.Sprintf("function %s is down: %s", f.key, err), http.StatusServiceUnavailable)
		return
	}
	answerProxyError(w, err)
}

// rawRest is the part of an escaped path behind /function/NAME; empty, which
// means escape path anew, when the escaped form has nothing to add.
func rawRest(raw, path string) string {
	const slashes = 3 // /function/NAME/
	if raw == "" {
		return ""
	}
	rest := raw
	for range slashes - 1 {
		_, after, found := strings.Cut(rest[1:], "/")
		if !found {
			return ""
		}
		rest = "/" + after
	}
	if unescaped, err := url.PathUnescape(rest); err != nil || unescaped != path {
		return ""
	}
	return rest
}

func newProxy(port int, transport *http.Transport, maxOutput int64, logger zerolog.Logger) *httputil.ReverseProxy {
	target := &url.URL{Scheme: "http", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Host = p.In.Host
			p.SetXForwarded()
			p.Out.Header.Set("X-Forwarded-For", forwardedFor(p.In))
			p.Out.Header.Del("Proxy") // or CGI within the function takes it for the proxy of its own requests
			// Users speak to HAProxy, which alone knows whether they use TLS.
			if proto, told := p.In.Header["X-Forwarded-Proto"]; told {
				p.Out.Header["X-Forwarded-Proto"] = proto
			}
		},
		Transport:     transport,
		FlushInterval: -1,
		ModifyResponse: func(response *http.Response) error {
			if response.StatusCode != http.StatusSwitchingProtocols {
				response.Body = &limitedBody{ReadCloser: response.Body, left: maxOutput, answer: response}
				removeOrigin(response.Trailer)
			}
			response.Header.Del(headerCallID) // ours are there already
			response.Header.Del(headerStart)
			if body := uploadOf(response.Request); body != nil && !body.ended.Load() {
				response.Header.Set("Connection", "close") // it may never be read to its end
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if cause := context.Cause(r.Context()); cause != nil {
				err = cause
			}
			// A read that fails ends the context, too, which is not why.
			if errors.Is(err, context.Canceled) {
				err = cmp.Or(uploadOf(r).failure(), err)
			}
			answerProxyError(w, err)
		},
		ErrorLog: log.New(logger, "", 0),
	}
}

// answerProxyError answers a call that the process did not answer.
func answerProxyError(w http.ResponseWriter, err error) {
	var tooLarge *http.MaxBytesError
	var client *clientError
	switch {
	case errors.Is(err, errTimeout):
		http.Error(w, "the function failed: "+errTimeout.Error(), http.StatusGatewayTimeout)
	case errors.Is(err, errStopping):
		http.Error(w, "the function failed: "+errStopping.Error(), http.StatusServiceUnavailable)
	case errors.Is(err, context.Canceled), errors.As(err, &client) && !errors.As(err, &tooLarge) && !slow(err):
		if r, ok := w.(*recorder); ok {
			r.status = statusClientGone
		}
	case slow(err):
		http.Error(w, "the function failed: "+err.Error(), http.StatusRequestTimeout)
	case errors.As(err, &tooLarge):
		http.Error(w, tooLarge.Error(), http.StatusRequestEntityTooLarge)
	default:
		http.Error(w, "the function failed: its process did not answer", http.StatusBadGateway)
	}
}

// limitedBody fails, which aborts the response, when there is too much of it.
type limitedBody struct {
	io.ReadCloser
	left   int64
	answer *http.Response
}

// Close comes before the trailers are passed on, which came with the end.
func (b *limitedBody) Close() error {
	removeOrigin(b.answer.Trailer)
	return b.ReadCloser.Close()
}

func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooMuch
	}
	return n, err
}
