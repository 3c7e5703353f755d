package provider

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// recorder remembers the status of a response, and says in it how long it took.
// It is used by one handler at a time.
type recorder struct {
	http.ResponseWriter
	begun  time.Time // of the call; zero: not to be told
	callID string
	status int
}

// WriteHeader notes the status.
func (r *recorder) WriteHeader(status int) {
	if status < 200 { // it is not the answer yet
		removeOrigin(r.Header())
	} else {
		r.status = status
		if r.callID != "" {
			r.identify() // an interim answer has taken away what was there
		}
		if header := r.Header(); !r.begun.IsZero() && header.Get(headerDuration) == "" {
			header.Set(headerDuration, strconv.FormatFloat(time.Since(r.begun).Seconds(), 'f', 6, 64))
		}
	}
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// identify puts the call's id and start time into the answer.
func (r *recorder) identify() {
	r.Header().Set(headerCallID, r.callID)
	r.Header().Set(headerStart, strconv.FormatInt(r.begun.UnixNano(), 10))
}

// removeOrigin removes the fields by which HAProxy says which node has answered. It
// replaces those of answers itself, but passes interim answers and trailers on as
// they are.
func removeOrigin(header http.Header) {
	const server, others = "X-Server", "Dfaas-"
	for name := range header {
		if name = http.CanonicalHeaderKey(name); name == server || strings.HasPrefix(name, others) {
			header.Del(name)
		}
	}
}
