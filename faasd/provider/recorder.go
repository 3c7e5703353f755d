package provider

import (
	"net/http"
	"strconv"
	"time"
)

// recorder remembers the status of a response, and says in it how long it took.
// It is used by one handler at a time.
type recorder struct {
	http.ResponseWriter
	begun  time.Time // of the call; zero: not to be told
	status int
}

// WriteHeader notes the status.
func (r *recorder) WriteHeader(status int) {
	if status >= 200 { // 1xx are not the answer yet
		r.status = status
		if header := r.Header(); !r.begun.IsZero() && header.Get(headerDuration) == "" {
			header.Set(headerDuration, strconv.FormatFloat(time.Since(r.begun).Seconds(), 'f', 6, 64))
		}
	}
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
