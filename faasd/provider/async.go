package provider

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/dfaas/dfaas/faasd/queue"
	"github.com/dfaas/dfaas/internal/clip"
)

const (
	headerCallback = "X-Callback-Url"
	// headerInternal is how OpenFaaS' components tell their own answers from those of
	// functions: a queue tries such calls again.
	headerInternal = "X-Openfaas-Internal"
	// fullRetry is after how many seconds a full queue may have room.
	fullRetry = "10"
)

// invokeAsync takes a call for later. Its answer, 202, is not given before the call
// is on the disk.
func (p *server) invokeAsync(w http.ResponseWriter, r *http.Request) {
	c := &call{r: r, begun: time.Now()}
	c.w = &recorder{ResponseWriter: w, begun: c.begun}
	c.identify()
	switch {
	case p.noQueue != nil:
		status := http.StatusServiceUnavailable
		if diskFull(p.noQueue) {
			status = http.StatusInsufficientStorage
		}
		p.refuse(c.w, status, "asynchronous calls are not taken: when the provider started, the disk was full or the queue damaged (see its log)")
		return
	case p.queue == nil:
		p.refuse(c.w, http.StatusNotImplemented,
			"asynchronous calls need a queue, which this provider has not (--queue-calls 0): call /function/NAME, or another node")
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		p.refuse(c.w, http.StatusMethodNotAllowed, "asynchronous calls are made with POST")
		return
	}
	target, name, rest, ok := asyncTarget(r.URL)
	switch f := p.registry.find(name); {
	case !ok:
		p.refuse(c.w, http.StatusNotFound, "call a function as /async-function/NAME or /async-function/NAME.NAMESPACE")
	case strings.IndexByte(rest, 0) >= 0:
		p.refuse(c.w, http.StatusBadRequest, "a path with a NUL in it cannot be handed to a function")
	case f == nil:
		p.refuse(c.w, http.StatusNotFound, fmt.Sprintf("function %q is not deployed here", clip.Text(name)))
	case f.problem != nil:
		p.refuse(c.w, http.StatusServiceUnavailable, fmt.Sprintf("function %s cannot be run here: %s", f.key, f.problem))
	default:
		p.enqueue(c, f, target)
	}
}

// asyncTarget is what a synchronous call would ask for in place of an asynchronous
// one, and what splitPath makes of it.
func asyncTarget(u *url.URL) (target, name, rest string, ok bool) {
	if name, rest, ok = splitPath(functionPrefix + strings.TrimPrefix(u.Path, asyncPrefix)); !ok {
		return "", "", "", false
	}
	same := url.URL{
		Path: functionPrefix + name + rest, RawPath: functionPrefix + url.PathEscape(name) + rawRest(u.RawPath, rest),
		RawQuery: u.RawQuery, ForceQuery: u.ForceQuery,
	}
	return same.RequestURI(), name, rest, true
}

// enqueue puts a call of f into the queue.
func (p *server) enqueue(c *call, f *function, target string) {
	callback, source := c.r.Header.Get(headerCallback), sourceOf(c.r)
	if callback != "" {
		if err := queue.CheckCallback(callback); err != nil {
			p.refuse(c.w, http.StatusBadRequest, headerCallback+": "+err.Error())
			return
		}
	}
	err := p.queue.Check(source)
	var body []byte
	if err == nil {
		body, err = p.receiveAsync(c, f)
	}
	if err == nil {
		header := c.r.Header.Clone()
		for _, name := range append(strings.Split(strings.Join(header["Connection"], ","), ","), "Connection", "Keep-Alive", "Te", "Trailer",
			"Transfer-Encoding", "Upgrade", "Expect") {
			header.Del(strings.TrimSpace(name))
		}
		err = p.queue.Put(queue.Call{
			ID: header.Get(headerCallID), Function: f.name, Target: queue.Raw(target), Host: queue.Raw(c.r.Host), RemoteAddr: c.r.RemoteAddr,
			Header: queue.Header(header), Callback: callback, Source: source,
		}, body)
	}
	if err == nil {
		c.w.WriteHeader(http.StatusAccepted)
		return
	}
	p.refuseAsync(c, f, err)
}

// receiveAsync reads the whole request body.
func (p *server) receiveAsync(c *call, f *function) ([]byte, error) {
	if c.r.ContentLength == 0 {
		return nil, nil
	}
	if c.r.ContentLength > queue.MaxBody {
		return nil, &http.MaxBytesError{Limit: queue.MaxBody}
	}
	c.r.Body = http.MaxBytesReader(c.w, c.r.Body, queue.MaxBody)
	file, err := p.launcher.spool(c.w, c.r, f.spec.timeout)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	body, err := io.ReadAll(file)
	if err != nil {
		return nil, fmt.Errorf("read the request body: %w", err)
	}
	return body, nil
}

// refuseAsync answers a call that is not in the queue.
func (p *server) refuseAsync(c *call, f *function, err error) {
	status, text := failureStatus(err), err.Error()
	switch {
	case errors.Is(err, queue.ErrShare):
		status = http.StatusTooManyRequests
	case errors.Is(err, queue.ErrFull), errors.Is(err, errUploads):
		status = http.StatusServiceUnavailable
	case errors.Is(err, queue.ErrTooLarge):
		status = http.StatusRequestEntityTooLarge
	case status == http.StatusRequestEntityTooLarge:
		text = fmt.Sprintf("the body of an asynchronous call has at most %d bytes: put it where the function can get it", queue.MaxBody)
	case diskFull(err), errors.Is(err, queue.ErrDisk):
		status, text = http.StatusInsufficientStorage, "the call cannot be kept: the disk is full, or fails (see the provider's log)"
		p.registry.logger.Error().Err(err).Str("function", f.key).Msg("an asynchronous call cannot be kept")
	case status == statusClientGone:
		c.w.status = status
		panic(http.ErrAbortHandler)
	case status == http.StatusInternalServerError:
		p.registry.logger.Error().Err(err).Str("function", f.key).Msg("an asynchronous call cannot be kept")
		text = "the call cannot be kept (see the provider's log)"
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		c.w.Header().Set("Retry-After", fullRetry)
	}
	p.refuse(c.w, status, text)
}

// sourceOf is whose share of the queue a call takes: the address that it came from,
// by the word of the proxy of this machine where there is one. Of IPv6 it is the /64,
// which is one site's.
func sourceOf(r *http.Request) string {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	address, err := netip.ParseAddr(host)
	if err != nil {
		return "unknown"
	}
	if list := strings.Split(forwardedFor(r), ", "); address.IsLoopback() && len(list) > 1 {
		if told, err := netip.ParseAddr(list[len(list)-2]); err == nil {
			address = told
		}
	}
	address = address.Unmap().WithZone("")
	if address.Is4() {
		return address.String()
	}
	site, _ := address.Prefix(64) // fails for other lengths only
	return site.String()
}

// executor makes the calls of the queue.
type executor struct{ p *server }

var _ queue.Executor = executor{}

// Room lets asynchronous calls have half of a function's places, one at least: who
// waits for an answer is to find one.
func (e executor) Room(name string, underWay int) bool {
	f := e.p.registry.find(name)
	if f == nil || f.spec == nil {
		return true // which is the answer
	}
	return int64(underWay) < (f.spec.maxInflight+1)/2 && !f.full()
}

// Policy is what the function's annotations say.
func (e executor) Policy(name string) queue.Policy {
	if f := e.p.registry.find(name); f != nil {
		return queue.ParsePolicy(deref(f.record.Deployment.Annotations))
	}
	return queue.DefaultPolicy()
}

// Execute calls the function as a synchronous call does.
func (e executor) Execute(ctx context.Context, c *queue.Call, body []byte) queue.Result {
	w := &answerWriter{header: http.Header{}, keep: c.Callback != ""}
	if err := e.p.execute(ctx, w, c, body); err != nil {
		e.p.registry.logger.Error().Err(err).Str("function", c.Function).Msg("an asynchronous call cannot be executed")
		return queue.Result{Status: http.StatusInternalServerError, Busy: true}
	}
	removeOrigin(w.header)
	result := queue.Result{Status: w.status, Header: queue.Header(w.header), Body: w.body.Bytes()}
	result.Busy = w.header.Get(headerInternal) != "" && (w.status == http.StatusTooManyRequests || w.status >= 500)
	switch { // what there is of the answer would look like all of it
	case w.broken:
		result.Status, result.Body = http.StatusBadGateway, []byte("the function broke off its answer\n")
	case w.over:
		result.Status, result.Body = http.StatusBadGateway, fmt.Appendf(nil, "the answer has more than the %d bytes that a callback can have\n", queue.MaxBody)
	default:
		return result
	}
	result.Header = queue.Header{"Content-Type": {"text/plain; charset=utf-8"}}
	return result
}

// execute makes one call. An error means that it was not begun.
func (p *server) execute(ctx context.Context, w *answerWriter, kept *queue.Call, body []byte) error {
	// As for a call that came over the network: only then does httputil.ReverseProxy
	// say that an answer broke off.
	ctx = context.WithValue(ctx, http.ServerContextKey, p)
	target, err := url.ParseRequestURI(string(kept.Target))
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "/", nil)
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	r.URL = target
	r.Header, r.Host, r.RemoteAddr = http.Header(kept.Header).Clone(), string(kept.Host), kept.RemoteAddr
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.ContentLength = int64(len(body))
	name, rest, _ := splitPath(r.URL.Path)
	c := &call{r: r, path: rest, begun: time.Now()}
	c.w = &recorder{ResponseWriter: w, begun: c.begun}
	c.identify()
	if len(body) > 0 {
		if c.body, err = p.launcher.bodyFile(body); err != nil {
			return err
		}
		defer c.body.Close()
	}
	defer func() {
		if thrown := recover(); thrown != nil {
			if thrown != http.ErrAbortHandler {
				panic(thrown)
			}
			w.broken = true
		}
	}()
	for p.attempt(c, name) {
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return nil
}

// bodyFile returns a file with that content.
func (l *launcher) bodyFile(body []byte) (*os.File, error) {
	file, err := l.spoolFile(len(body) <= spoolInMemory)
	if err != nil {
		return nil, fmt.Errorf("make a place for the request body: %w", err)
	}
	if _, err = file.Write(body); err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("keep the request body: %w", err), file.Close())
	}
	return file, nil
}

// answerWriter takes in a function's answer, for the callback if there is one. It is
// used by one call at a time.
type answerWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
	keep   bool // the body is wanted
	over   bool // there was more of it than can be kept
	broken bool // the answer broke off
}

func (w *answerWriter) Header() http.Header { return w.header }

func (w *answerWriter) WriteHeader(status int) {
	if status >= 200 && w.status == 0 {
		w.status = status
	}
}

func (w *answerWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	switch {
	case !w.keep:
	case w.body.Len()+len(p) > queue.MaxBody:
		w.over = true
		w.body.Reset()
		w.keep = false
	default:
		w.body.Write(p)
	}
	return len(p), nil
}

// What http.ResponseController asks of a connection: there is none.

func (w *answerWriter) Flush()                           {}
func (w *answerWriter) EnableFullDuplex() error          { return nil }
func (w *answerWriter) SetReadDeadline(time.Time) error  { return nil }
func (w *answerWriter) SetWriteDeadline(time.Time) error { return nil }
