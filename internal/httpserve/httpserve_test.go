package httpserve

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestRun: what is being answered when the context ends is finished, unless it
// takes longer than the grace.
func TestRun(t *testing.T) {
	for name, tc := range map[string]struct {
		grace    time.Duration
		finishes bool
	}{"finishes": {time.Minute, true}, "takes too long": {50 * time.Millisecond, false}} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			answering, finish := make(chan struct{}), make(chan struct{})
			l := listen(t)
			served := make(chan error, 1)
			go func() {
				served <- Run(ctx, l, New(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					close(answering)
					<-finish
					_, _ = io.WriteString(w, "done")
				})), tc.grace)
			}()
			answered := make(chan string, 1)
			go func() {
				resp, err := http.Get("http://" + l.Addr().String())
				if err != nil {
					answered <- ""
					return
				}
				defer resp.Body.Close()
				body, _ := io.ReadAll(resp.Body)
				answered <- string(body)
			}()
			<-answering
			cancel()
			if tc.finishes {
				close(finish)
			}
			if got := <-answered; (got == "done") != tc.finishes {
				t.Errorf("answered %q", got)
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
			if !tc.finishes {
				close(finish)
			}
		})
	}
}

func TestCannotServe(t *testing.T) {
	l := listen(t)
	l.Close()
	if err := Run(t.Context(), l, New(http.NotFoundHandler()), time.Second); err == nil {
		t.Error("it served on a closed listener")
	}
}
