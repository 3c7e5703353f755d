package provider

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/dfaas/dfaas/internal/clip"
)

const (
	functionPrefix = "/function/"
	asyncPrefix    = "/async-function/"
	// sendGrace is how long a client may take, beyond the function's own time, to
	// take in the answer.
	sendGrace = 10 * time.Second
)

// The header fields by which OpenFaaS' gateway and watchdogs tell calls and their
// times: the first two in the request to a function as well as in the answer.
const (
	headerCallID   = "X-Call-Id"          // a UUID, unless the caller brought its own
	headerStart    = "X-Start-Time"       // nanoseconds since 1970
	headerDuration = "X-Duration-Seconds" // until the answer began
	maxCallID      = 128                  // bytes
)

// identify gives a call its id and its start time.
func (c *call) identify() {
	id := c.r.Header.Get(headerCallID)
	if id == "" || len(id) > maxCallID {
		id = uuid.NewString()
	}
	c.w.callID = id
	c.w.identify()
	for _, name := range []string{headerCallID, headerStart} {
		c.r.Header.Set(name, c.w.Header().Get(name))
	}
}

// splitPath takes /function/NAME[/REST] apart. rest begins with a slash or is
// empty.
func splitPath(path string) (name, rest string, ok bool) {
	path, ok = strings.CutPrefix(path, functionPrefix)
	if !ok {
		return "", "", false
	}
	if slash := strings.IndexByte(path, '/'); slash >= 0 {
		path, rest = path[:slash], path[slash:]
	}
	return path, rest, path != ""
}

// call is one call of a function on its way.
type call struct {
	w     *recorder
	r     *http.Request
	path  string // what follows the function's name
	begun time.Time
	// body is the whole request body when it was read before the call could
	// begin, upload the one that is still to be read. Both are nil if there is
	// none.
	body   *os.File
	upload *upload
}

// invoke serves the calls to functions.
func (p *server) invoke(w http.ResponseWriter, r *http.Request) {
	c := &call{r: r, begun: time.Now()}
	c.w = &recorder{ResponseWriter: w, begun: c.begun}
	c.identify()
	name, rest, ok := splitPath(r.URL.Path)
	if !ok {
		p.refuse(c.w, http.StatusNotFound, "call a function as /function/NAME or /function/NAME.NAMESPACE")
		return
	}
	if strings.IndexByte(rest, 0) >= 0 {
		p.refuse(c.w, http.StatusBadRequest, "a path with a NUL in it cannot be handed to a function")
		return
	}
	c.path = rest
	r.Body = http.MaxBytesReader(w, r.Body, p.launcher.maxBody)
	defer func() {
		if c.body != nil {
			c.body.Close()
		}
	}()
	for p.attempt(c, name) {
	}
}

// attempt answers a call by the function that is deployed under the name now. It
// reports whether that was replaced meanwhile, and the call not begun.
func (p *server) attempt(c *call, name string) (again bool) {
	f, ok := p.ready(c, name)
	if !ok || !p.receive(c, f) {
		return false
	}
	if f.record.Replicas == 0 {
		if err := p.registry.scale(c.r.Context(), name, 1); err != nil {
			p.refuse(c.w, http.StatusServiceUnavailable, fmt.Sprintf("scale function %s up from zero: %s", f.key, err))
			return false
		}
		return true
	}
	entered, retired := f.enter()
	if !entered {
		// A call that waits for its sender gives way to one that need not.
		if retired || f.uploads.cutSlowest() {
			return true
		}
		p.refuseFull(c, f)
		return false
	}
	leave := sync.OnceFunc(f.leave)
	defer leave()
	if c.body == nil && c.r.ContentLength != 0 {
		c.upload = newUpload(http.NewResponseController(c.w), c.r.Body)
		c.upload.onCut = leave
		f.uploads.join(c.upload)
		defer f.uploads.leave(c.upload)
	}
	p.counted(c, f, func() {
		if f.upstream != nil {
			f.upstream.serve(c, f)
		} else {
			p.launcher.serve(c, f)
		}
	})
	return false
}

// ready finds the function of a call and looks whether it can take one; if not,
// it answers the call. A function that is full is not worth sending it a body.
func (p *server) ready(c *call, name string) (*function, bool) {
	f := p.registry.find(name)
	switch {
	case f == nil:
		p.refuse(c.w, http.StatusNotFound, fmt.Sprintf("function %q is not deployed here", clip.Text(name)))
	case f.problem != nil:
		p.refuse(c.w, http.StatusServiceUnavailable, fmt.Sprintf("function %s cannot be run here: %s", f.key, f.problem))
	case f.full():
		p.refuseFull(c, f)
	default:
		return f, true
	}
	return nil, false
}

// receive reads the request body if the function's process starts only then. It
// answers the call itself when the body cannot be had.
func (p *server) receive(c *call, f *function) bool {
	// Once for the request, once for the process, and the rest for the client.
	_ = http.NewResponseController(c.w).SetWriteDeadline(c.begun.Add(2*f.spec.timeout + sendGrace))
	if f.spec.mode != modeSerializing || c.body != nil || c.r.ContentLength == 0 {
		return true
	}
	var err error
	if c.body, err = p.launcher.spool(c.w, c.r, f.spec.timeout); err == nil {
		return true
	}
	if errors.Is(err, errUploads) {
		c.w.Header().Set("Retry-After", "1")
		p.refuse(c.w, http.StatusServiceUnavailable, err.Error())
		return false
	}
	p.counted(c, f, func() { finish(c.w, f, &output{}, err) })
	return false
}

// counted counts what serve answers as a call of f.
func (p *server) counted(c *call, f *function, serve func()) {
	p.metrics.started.WithLabelValues(f.key).Inc()
	f.calls.Add(1)
	defer func() {
		if c.w.status == 0 {
			c.w.status = http.StatusOK
		}
		if !f.retired.Load() || p.registry.find(f.name) != nil { // else its series were forgotten
			p.metrics.call(f.key, c.w.status, time.Since(c.begun))
		}
	}()
	serve()
}

func (p *server) refuseFull(c *call, f *function) {
	c.w.Header().Set("Retry-After", "1")
	p.refuse(c.w, http.StatusTooManyRequests,
		fmt.Sprintf("function %s serves %d calls already, its max_inflight", f.key, f.spec.maxInflight))
}

// refuse answers a call that does not begin. Of a body that came with it as much
// is read as comes soon, so that the sender sees the answer.
func (p *server) refuse(w http.ResponseWriter, status int, text string) {
	p.metrics.refuse(status)
	w.Header().Set(headerInternal, providerName)
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(drainTime))
	http.Error(w, text, status)
}
