package provider

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openfaas/faas-provider/auth"
	"github.com/openfaas/faas-provider/logs"
	"github.com/openfaas/faas-provider/types"

	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/faasd/queue"
	"github.com/dfaas/dfaas/internal/clip"
)

const (
	providerName = "dfaas-provider"
	maxAPIBody   = 1 << 20          // bytes of a request to the REST API
	apiTimeout   = 30 * time.Second // for such a request, logs aside
)

// server is the HTTP side of the provider.
type server struct {
	registry *registry
	launcher *launcher
	metrics  *metrics
	queue    *queue.Queue // nil: asynchronous calls are not taken
	noQueue  error        // why it could not be opened; nil: none is wanted
	version  types.VersionInfo
	stopping <-chan struct{} // closed when the provider stops
}

// handler serves the whole: functions to everybody, the REST API to those who
// know the credentials, if there are any.
func (p *server) handler(credentials *auth.BasicAuthCredentials) http.Handler {
	api := http.NewServeMux()
	api.HandleFunc("GET /system/functions", p.listFunctions)
	api.HandleFunc("POST /system/functions", p.deployFunction)
	api.HandleFunc("PUT /system/functions", p.deployFunction)
	api.HandleFunc("DELETE /system/functions", p.removeFunction)
	api.HandleFunc("GET /system/function/{name}", p.showFunction)
	api.HandleFunc("POST /system/scale-function/{name}", p.scaleFunction)
	api.HandleFunc("GET /system/info", p.info)
	api.HandleFunc("GET /system/namespaces", p.listNamespaces)
	api.HandleFunc("GET /system/secrets", p.listSecrets)
	api.HandleFunc("POST /system/secrets", p.setSecret)
	api.HandleFunc("PUT /system/secrets", p.setSecret)
	api.HandleFunc("DELETE /system/secrets", p.removeSecret)
	api.HandleFunc("GET /system/logs", p.showLogs)
	api.HandleFunc("/system/namespace/", p.changeNamespace)

	system := bounded(api.ServeHTTP)
	if credentials != nil {
		system = auth.DecorateWithBasicAuth(system, credentials)
	} else {
		system = byAddress(system)
	}
	all := http.NewServeMux()
	// A page in somebody's browser must not deploy to this machine's loop-back.
	all.Handle("/system/", http.NewCrossOriginProtection().Handler(system))
	all.Handle("GET /metrics", p.metrics.handler())
	all.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "OK") })
	return p.route(all)
}

// route keeps the calls to functions from http.ServeMux, which would redirect
// paths that are not clean; a function gets its path as it came.
func (p *server) route(others http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case len(path) >= len(functionPrefix) && path[:len(functionPrefix)] == functionPrefix:
			p.invoke(w, r)
		case len(path) >= len(asyncPrefix) && path[:len(asyncPrefix)] == asyncPrefix:
			p.invokeAsync(w, r)
		default:
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(apiTimeout)) // for a body that nobody asked for
			others.ServeHTTP(w, r)
		}
	})
}

// byAddress answers only to clients that call the API by an IP address or as
// localhost. A web page cannot: to the browser it is of the same origin as a name
// of its author's choice, which may lead to this machine as well as to his.
func byAddress(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !addressHost(r.Host) {
			http.Error(w, fmt.Sprintf("without credentials the REST API answers to IP addresses and localhost only, not to %q: "+
				"call it by its address, or start dfaas-provider with --basic-auth-dir", clip.Text(r.Host)), http.StatusForbidden)
			return
		}
		next(w, r)
	}
}

// addressHost reports whether the Host of a request is an IP address or
// localhost, with or without a port, or missing, as it may be in HTTP/1.0.
func addressHost(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	if name, port, err := net.SplitHostPort(host); err == nil && strings.EqualFold(name, "localhost") {
		_, err = strconv.ParseUint(port, 10, 16)
		return err == nil || port == ""
	}
	address := host
	if inner, ok := strings.CutPrefix(host, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok {
			address = inner
		}
	}
	_, withPort := netip.ParseAddrPort(host)
	_, withoutPort := netip.ParseAddr(address)
	return host == "" || withPort == nil || withoutPort == nil
}

// bounded limits the time and the size of requests to the REST API.
func bounded(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		deadline := time.Now().Add(apiTimeout)
		_ = control.SetReadDeadline(deadline)
		_ = control.SetWriteDeadline(deadline)
		r.Body = http.MaxBytesReader(w, r.Body, maxAPIBody)
		next(w, r)
	}
}

// decode reads a request's JSON. Fields that it does not know are ignored: the
// clients of OpenFaaS know more than this provider.
func decode(r *http.Request, into any) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return badRequest("the request is not valid JSON of this call: %s", clip.Text(err.Error()))
	}
	return nil
}

func answer(w http.ResponseWriter, value any) {
	encoded, err := json.Marshal(value)
	if err != nil {
		answerError(w, fmt.Errorf("encode the answer: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(encoded, '\n'))
}

// accepted answers a change that was made: 202, as OpenFaaS does.
func accepted(w http.ResponseWriter, err error) {
	if err != nil {
		answerError(w, err)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// namespace is the namespace that a request is about: in its body, in its query
// or the default one.
func (p *server) namespace(r *http.Request, inBody string) (string, error) {
	namespace := inBody
	if namespace == "" {
		namespace = r.URL.Query().Get("namespace")
	}
	if namespace == "" {
		namespace = faasd.DefaultNamespace
	}
	if err := faasd.CheckLabel("namespace", namespace); err != nil {
		return "", badRequest("%s", err)
	}
	return namespace, nil
}

// functionName is the key of the function that a request is about. The name may
// bring its namespace along, as NAME.NAMESPACE.
func (p *server) functionName(r *http.Request, name, namespaceInBody string) (string, error) {
	namespace, err := p.namespace(r, namespaceInBody)
	if err != nil {
		return "", err
	}
	function, own := faasd.SplitName(name, namespace)
	if err := faasd.CheckLabel("function name", function); err != nil {
		return "", badRequest("%s", err)
	}
	return faasd.Name(function, own), nil
}

func (p *server) listFunctions(w http.ResponseWriter, r *http.Request) {
	namespace, err := p.namespace(r, "")
	if err != nil {
		answerError(w, err)
		return
	}
	list := []types.FunctionStatus{}
	for _, f := range p.registry.in(namespace) {
		list = append(list, f.status())
	}
	answer(w, list)
}

func (p *server) deployFunction(w http.ResponseWriter, r *http.Request) {
	var d types.FunctionDeployment
	err := decode(r, &d)
	if err == nil {
		d.Namespace, err = p.namespace(r, d.Namespace)
	}
	if err == nil {
		err = p.registry.deploy(r.Context(), d, r.Method == http.MethodPut)
	}
	accepted(w, err)
}

func (p *server) removeFunction(w http.ResponseWriter, r *http.Request) {
	var request types.DeleteFunctionRequest
	err := decode(r, &request)
	var name string
	if err == nil {
		name, err = p.functionName(r, request.FunctionName, request.Namespace)
	}
	if err == nil {
		err = p.registry.remove(r.Context(), name)
	}
	accepted(w, err)
}

func (p *server) showFunction(w http.ResponseWriter, r *http.Request) {
	name, err := p.functionName(r, r.PathValue("name"), "")
	if err != nil {
		answerError(w, err)
		return
	}
	f := p.registry.find(name)
	if f == nil {
		answerError(w, notFound("function %s is not deployed", clip.Text(name)))
		return
	}
	answer(w, f.status())
}

func (p *server) scaleFunction(w http.ResponseWriter, r *http.Request) {
	var request types.ScaleServiceRequest
	err := decode(r, &request)
	var name string
	if err == nil {
		name, err = p.functionName(r, r.PathValue("name"), request.Namespace)
	}
	if err == nil {
		err = p.registry.scale(r.Context(), name, request.Replicas)
	}
	accepted(w, err)
}

// info answers in the shape of the OpenFaaS gateway, and says what that does not.
func (p *server) info(w http.ResponseWriter, _ *http.Request) {
	arch := runtime.GOARCH
	if arch == "amd64" {
		arch = "x86_64" // as the gateway calls it
	}
	answer(w, map[string]any{
		"provider": types.ProviderInfo{Name: providerName, Version: &p.version, Orchestration: "processes"},
		"version":  p.version,
		"arch":     arch,
		"async":    p.queue != nil, // whether asynchronous calls are taken
	})
}

func (p *server) listNamespaces(w http.ResponseWriter, _ *http.Request) {
	answer(w, p.registry.namespaces())
}

func (p *server) changeNamespace(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "a namespace is there as long as a function is deployed in it: there is nothing to create or remove",
		http.StatusNotImplemented)
}

func (p *server) listSecrets(w http.ResponseWriter, r *http.Request) {
	namespace, err := p.namespace(r, "")
	var secrets []types.Secret
	if err == nil {
		secrets, err = p.registry.secrets(namespace)
	}
	if err != nil {
		answerError(w, err)
		return
	}
	answer(w, secrets)
}

func (p *server) setSecret(w http.ResponseWriter, r *http.Request) {
	var secret types.Secret
	err := decode(r, &secret)
	if err == nil {
		secret.Namespace, err = p.namespace(r, secret.Namespace)
	}
	if err == nil {
		err = p.registry.setSecret(r.Context(), secret, r.Method == http.MethodPut)
	}
	accepted(w, err)
}

func (p *server) removeSecret(w http.ResponseWriter, r *http.Request) {
	var secret types.Secret
	err := decode(r, &secret)
	var namespace string
	if err == nil {
		namespace, err = p.namespace(r, secret.Namespace)
	}
	if err == nil {
		err = p.registry.removeSecret(r.Context(), namespace, secret.Name)
	}
	accepted(w, err)
}

// logQuery is what GET /system/logs asks for.
type logQuery struct {
	tail   int // 0: all that is known
	since  time.Time
	follow bool
}

func parseLogQuery(r *http.Request) (logQuery, error) {
	var q logQuery
	query := r.URL.Query()
	if text := query.Get("tail"); text != "" {
		tail, err := strconv.Atoi(text)
		if err != nil {
			return q, badRequest("tail=%s: use a number of lines", clip.Text(text))
		}
		q.tail = max(tail, 0) // faas-cli sends -1 for all
	}
	if text := query.Get("since"); text != "" {
		since, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return q, badRequest("since=%s: use a time such as 2026-01-31T12:00:00Z", clip.Text(text))
		}
		q.since = since
	}
	if text := query.Get("follow"); text != "" {
		follow, err := strconv.ParseBool(text)
		if err != nil {
			return q, badRequest("follow=%s: use true or false", clip.Text(text))
		}
		q.follow = follow
	}
	return q, nil
}

// showLogs answers with a function's log as NDJSON, one logs.Message a line.
func (p *server) showLogs(w http.ResponseWriter, r *http.Request) {
	query, err := parseLogQuery(r)
	var name string
	if err == nil {
		name, err = p.functionName(r, r.URL.Query().Get("name"), "")
	}
	if err != nil {
		answerError(w, err)
		return
	}
	f := p.registry.find(name)
	if f == nil {
		answerError(w, notFound("function %s is not deployed", clip.Text(name)))
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	lines, next, more := f.book.from(0)
	lines = slices.DeleteFunc(lines, func(m logs.Message) bool { return m.Timestamp.Before(query.since) })
	if query.tail > 0 {
		lines = lines[max(0, len(lines)-query.tail):]
	}
	if sendLines(w, lines) != nil || !query.follow {
		return
	}
	p.followLog(w, r, f, next, more)
}

// followLog sends the lines from number next on, until the client goes, the
// function is removed and its calls have ended, or the provider stops.
func (p *server) followLog(w http.ResponseWriter, r *http.Request, f *function, next uint64, more <-chan struct{}) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	for last := false; !last; {
		select {
		case <-more:
		case <-f.book.closed:
			last = true
		case <-r.Context().Done():
			return
		case <-p.stopping:
			return
		}
		var lines []logs.Message
		lines, next, more = f.book.from(next)
		if sendLines(w, lines) != nil {
			return
		}
	}
}

func sendLines(w http.ResponseWriter, lines []logs.Message) error {
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(apiTimeout))
	encoder := json.NewEncoder(w)
	for _, line := range lines {
		if err := encoder.Encode(line); err != nil {
			return err
		}
	}
	return control.Flush()
}
