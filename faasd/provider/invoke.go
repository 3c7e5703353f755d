package provider

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	functionPrefix = "/function/"
	asyncPrefix    = "/async-function/"
	// sendGrace is how long a client may take, beyond the function's own time, to
	// take in the answer.
	sendGrace = 10 * time.Second
)

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

// invoke serves the calls to functions.
func (p *server) invoke(w http.ResponseWriter, r *http.Request) {
	name, rest, ok := splitPath(r.URL.Path)
	if !ok {
		p.refuse(w, http.StatusNotFound, "call a function as /function/NAME or /function/NAME.NAMESPACE")
		return
	}
	if strings.IndexByte(rest, 0) >= 0 {
		p.refuse(w, http.StatusBadRequest, "a path with a NUL in it cannot be handed to a function")
		return
	}
	f, ok := p.enter(w, r, name)
	if !ok {
		return
	}
	defer f.leave()
	p.metrics.started.WithLabelValues(f.key).Inc()
	f.calls.Add(1)
	started := time.Now()
	answer := &recorder{ResponseWriter: w}
	defer func() {
		if answer.status == 0 {
			answer.status = http.StatusOK
		}
		if !f.retired.Load() || p.registry.find(name) != nil { // else its series were forgotten
			p.metrics.call(f.key, answer.status, time.Since(started))
		}
	}()
	// Once for the request, once for the process, and the rest for the client.
	_ = http.NewResponseController(w).SetWriteDeadline(started.Add(2*f.spec.timeout + sendGrace))
	r.Body = http.MaxBytesReader(w, r.Body, p.launcher.maxBody)
	if f.upstream != nil {
		f.upstream.serve(answer, r, f, rest)
	} else {
		p.launcher.serve(answer, r, f, rest)
	}
}

// enter finds the function and begins a call of it; a function that was scaled
// to zero is scaled up first, as OpenFaaS does. When it answers the call itself,
// ok is false.
func (p *server) enter(w http.ResponseWriter, r *http.Request, name string) (f *function, ok bool) {
	for {
		f = p.registry.find(name)
		if f == nil {
			p.refuse(w, http.StatusNotFound, fmt.Sprintf("function %q is not deployed here", clip(name)))
			return nil, false
		}
		if f.problem != nil {
			p.refuse(w, http.StatusServiceUnavailable, fmt.Sprintf("function %s cannot be run here: %s", f.key, f.problem))
			return nil, false
		}
		if f.record.Replicas == 0 {
			if err := p.registry.scale(r.Context(), name, 1); err != nil {
				p.refuse(w, http.StatusServiceUnavailable, fmt.Sprintf("scale function %s up from zero: %s", f.key, err))
				return nil, false
			}
			continue
		}
		entered, retired := f.enter()
		if entered {
			return f, true
		}
		if !retired {
			w.Header().Set("Retry-After", "1")
			p.refuse(w, http.StatusTooManyRequests,
				fmt.Sprintf("function %s serves %d calls already, its max_inflight", f.key, f.spec.maxInflight))
			return nil, false
		}
	}
}

func (p *server) refuse(w http.ResponseWriter, status int, text string) {
	p.metrics.refuse(status)
	http.Error(w, text, status)
}

func (p *server) invokeAsync(w http.ResponseWriter, _ *http.Request) {
	p.refuse(w, http.StatusNotImplemented,
		"asynchronous calls need a queue, which this provider has not: call /function/NAME, or use OpenFaaS or faasd")
}
