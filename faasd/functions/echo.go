package functions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Program is the program whose commands the catalogue's built-in entries name.
const Program = "dfaas-provider"

const (
	// echoBody bounds a body, in bytes, as the provider does by default. Any
	// program of this machine can connect.
	echoBody = 64 << 20
	// echoHeaderTime is how long the header of a request may take, echoIdle how
	// long a connection is kept without one, echoStop how long calls under way may
	// take when the function is stopped.
	echoHeaderTime = 10 * time.Second
	echoIdle       = time.Minute
	echoStop       = 2 * time.Second
)

// Echo is the function http-echo: it answers every HTTP request on 127.0.0.1 at
// the port with the request's body, until ctx ends.
func Echo(ctx context.Context, port string) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return fmt.Errorf("serve http-echo: %w", err)
	}
	server := &http.Server{Handler: http.HandlerFunc(echo), ReadHeaderTimeout: echoHeaderTime, IdleTimeout: echoIdle}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		// The context of the calls under way is another one.
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), echoStop)
		defer cancel()
		stopped <- server.Shutdown(limited)
	})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("serve http-echo: %w", err)
	}
	return <-stopped
}

func echo(w http.ResponseWriter, r *http.Request) {
	// Read to its end first: a proxy may not take an answer while it still sends.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, echoBody))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	if err != nil {
		panic(http.ErrAbortHandler) // half a body is no body
	}
	w.Header().Set("Content-Type", cmp.Or(r.Header.Get("Content-Type"), "text/plain; charset=utf-8"))
	_, _ = w.Write(body) // the caller has gone, which concerns nobody
}
