package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/internal/httpserve"
	"github.com/dfaas/dfaas/internal/strictjson"
)

const (
	joinTimeout  = 30 * time.Second
	writeTimeout = joinTimeout + 10*time.Second
	closeTimeout = time.Second
)

// Serve answers requests on ln from src until the context ends, then lets
// running ones finish for a second. It closes ln, which removes its socket.
// Metrics answers /metrics; nil: nothing does. The error is nil when the
// context ended it.
func Serve(ctx context.Context, ln net.Listener, src Source, metrics http.Handler, log zerolog.Logger) error {
	log = log.With().Str("part", "admin").Logger()
	server := httpserve.New(NewHandler(src, metrics, log))
	server.WriteTimeout = writeTimeout
	server.BaseContext = func(net.Listener) context.Context { return ctx }
	return httpserve.Run(ctx, ln, server, closeTimeout)
}

// NewHandler returns the admin interface as an http.Handler; see Serve.
func NewHandler(src Source, metrics http.Handler, log zerolog.Logger) http.Handler {
	h := &handler{src: src, log: log}
	mux := http.NewServeMux()
	mux.Handle("/v1/status", h.get(func(url.Values) (any, error) { return src.Status(), nil }))
	mux.Handle("/v1/peers", h.get(func(url.Values) (any, error) { return sortedPeers(src.Peers()), nil }))
	mux.Handle("/v1/functions", h.get(func(url.Values) (any, error) { return sortedFunctions(src.Functions()), nil }))
	mux.Handle("/v1/routes", h.get(h.routes, "function"))
	mux.HandleFunc("/v1/join", h.join)
	if metrics != nil {
		mux.Handle("GET /metrics", metrics)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		h.fail(w, r, &Problem{http.StatusNotFound, "no such path: this is the dfaas-controller's admin interface, /v1/status and so on"})
	})
	return mux
}

type handler struct {
	src Source
	log zerolog.Logger
}

// get answers GET requests that have no other query parameters than those
// named, each at most once.
func (h *handler) get(answer func(url.Values) (any, error), parameters ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := checkMethod(w, r, http.MethodGet); err != nil {
			h.fail(w, r, err)
			return
		}
		query, err := checkQuery(r, parameters)
		if err != nil {
			h.fail(w, r, err)
			return
		}
		body, err := answer(query)
		if err != nil {
			h.fail(w, r, err)
			return
		}
		h.write(w, r, http.StatusOK, body)
	})
}

func (h *handler) routes(query url.Values) (any, error) {
	name := query.Get("function")
	if len(name) > MaxName {
		return nil, &Problem{http.StatusBadRequest, fmt.Sprintf("function: names have at most %d bytes", MaxName)}
	}
	return sortedRoutes(h.src.Routes(name)), nil
}

func (h *handler) join(w http.ResponseWriter, r *http.Request) {
	if err := checkMethod(w, r, http.MethodPost); err != nil {
		h.fail(w, r, err)
		return
	}
	if _, err := checkQuery(r, nil); err != nil {
		h.fail(w, r, err)
		return
	}
	request, err := decodeJoin(http.MaxBytesReader(w, r.Body, MaxBody))
	if err != nil {
		h.fail(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), joinTimeout)
	defer cancel()
	if err := h.src.Join(ctx, request.Address); err != nil {
		h.fail(w, r, joinProblem(err))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// joinProblem tells the caller's mistakes from the network's.
func joinProblem(err error) *Problem {
	switch {
	case errors.Is(err, ErrBadAddress):
		return &Problem{http.StatusBadRequest, err.Error()}
	case errors.Is(err, context.DeadlineExceeded):
		return &Problem{http.StatusGatewayTimeout, fmt.Sprintf("no connection within %s: %v", joinTimeout, err)}
	default:
		return &Problem{http.StatusBadGateway, err.Error()}
	}
}

// decodeJoin reads exactly one JoinRequest. What a newer dfaasctl says besides is
// ignored.
func decodeJoin(body io.Reader) (JoinRequest, error) {
	var request JoinRequest
	data, err := io.ReadAll(body)
	if err == nil {
		_, err = strictjson.Lenient(data, &request)
	}
	if err != nil {
		return JoinRequest{}, bodyProblem(err)
	}
	if err := checkAddress(request.Address); err != nil {
		return JoinRequest{}, &Problem{http.StatusBadRequest, err.Error()}
	}
	return request, nil
}

func bodyProblem(err error) *Problem {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &Problem{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", MaxBody)}
	}
	return &Problem{http.StatusBadRequest, fmt.Sprintf(`the body is not {"address": MULTIADDR}: %v`, err)}
}

// checkAddress refuses what no multiaddr looks like; whether it is one is for
// Source.Join to say.
func checkAddress(address string) error {
	if address == "" {
		return errors.New("address: missing")
	}
	if len(address) > MaxAddress {
		return fmt.Errorf("address: has %d bytes, at most %d are allowed", len(address), MaxAddress)
	}
	for _, c := range []byte(address) {
		if c <= ' ' || c > '~' {
			return fmt.Errorf("address: a multiaddr has no byte %#02x", c)
		}
	}
	return nil
}

func checkMethod(w http.ResponseWriter, r *http.Request, method string) error {
	if r.Method == method {
		return nil
	}
	w.Header().Set("Allow", method)
	return &Problem{http.StatusMethodNotAllowed, fmt.Sprintf("use %s for %s", method, r.URL.Path)}
}

func checkQuery(r *http.Request, known []string) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, &Problem{http.StatusBadRequest, fmt.Sprintf("the query is malformed: %v", err)}
	}
	left := len(query)
	for _, name := range known {
		if len(query[name]) > 1 {
			return nil, &Problem{http.StatusBadRequest, fmt.Sprintf("%s: given more than once", name)}
		}
		if query.Has(name) {
			left--
		}
	}
	if left > 0 {
		return nil, &Problem{http.StatusBadRequest, fmt.Sprintf("unknown query parameter for %s: it takes %q", r.URL.Path, known)}
	}
	return query, nil
}

func (h *handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	problem, ok := errors.AsType[*Problem](err)
	if !ok {
		problem = &Problem{http.StatusInternalServerError, err.Error()}
	}
	h.log.Debug().Str("method", r.Method).Str("path", r.URL.Path).Int("status", problem.Status).
		Str("reason", problem.Message).Msg("admin request refused")
	h.write(w, r, problem.Status, problem)
}

// write encodes before it sends, so that a value that has no JSON form (NaN)
// is a clear 500 rather than half an answer.
func (h *handler) write(w http.ResponseWriter, r *http.Request, status int, body any) {
	encoded, err := json.Marshal(body)
	if err != nil {
		h.log.Error().Err(err).Str("path", r.URL.Path).Msg("encoding an admin answer")
		status, encoded = http.StatusInternalServerError, []byte(`{"error":"the answer could not be encoded: see the controller's log"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if _, err := w.Write(append(encoded, '\n')); err != nil {
		h.log.Debug().Err(err).Str("path", r.URL.Path).Msg("sending an admin answer")
	}
}
