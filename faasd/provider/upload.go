package provider

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// How fast a request body must come that is read before its process starts: it
// may keep the provider waiting for uploadGrace in all, and for a second more
// with every uploadRate bytes. So a sender that stalls is known after
// uploadGrace.
const (
	uploadGrace = 5 * time.Second
	uploadRate  = 1 << 10 // bytes/s
	// cutAfter is how long a body must have kept the provider waiting before it
	// may be cut off for the benefit of another one.
	cutAfter = time.Second
)

// Why a body was not read to its end.
var (
	errTooSlow = errors.New("it came too slowly")
	errCutOff  = errors.New("it came too slowly while others waited")
)

// slow reports whether err means that the sender of a body was too slow.
func slow(err error) bool { return errors.Is(err, errTooSlow) || errors.Is(err, errCutOff) }

// uploads are the request bodies that are on their way. It is safe for
// concurrent use.
type uploads struct {
	most int // at once; 0: any number

	mu  sync.Mutex
	all map[*upload]struct{}
}

// join adds a body. When there are as many as there may be, the slowest is cut
// off; join reports false if none is slow.
func (s *uploads) join(u *upload) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.most > 0 && len(s.all) >= s.most && !s.cutSlowestLocked() {
		return false
	}
	if s.all == nil {
		s.all = map[*upload]struct{}{}
	}
	s.all[u] = struct{}{}
	return true
}

// leave takes a body away that was read, or is not wanted any more. It must be
// called before the request's handler returns.
func (s *uploads) leave(u *upload) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, u)
}

// cutSlowest cuts the slowest body off, unless none has kept the provider
// waiting for long.
func (s *uploads) cutSlowest() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cutSlowestLocked()
}

// anySlow reports whether cutSlowest would find one.
func (s *uploads) anySlow() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.slowestLocked() != nil
}

func (s *uploads) cutSlowestLocked() bool {
	slowest := s.slowestLocked()
	if slowest == nil {
		return false
	}
	delete(s.all, slowest)
	slowest.cutOff()
	return true
}

// slowestLocked is the slowest of those that have kept the provider waiting for
// long, nil if there is none.
func (s *uploads) slowestLocked() (slowest *upload) {
	var least float64
	now := time.Now()
	for u := range s.all {
		waited := u.waited(now)
		if waited < cutAfter {
			continue
		}
		if rate := float64(u.bytes.Load()) / waited.Seconds(); slowest == nil || rate < least {
			slowest, least = u, rate
		}
	}
	return slowest
}

// upload is one request body on its way. It is safe for concurrent use while the
// request's handler runs.
type upload struct {
	reading sync.Mutex
	body    io.Reader
	control deadliner
	begun   time.Time
	// latest, unless zero, is when the body must be there, and says that it must
	// come at the least rate.
	latest time.Time
	// onCut, if set, is called when the body is cut off.
	onCut func()

	bytes atomic.Int64
	spent atomic.Int64 // nanoseconds that reading took so far
	since atomic.Int64 // when the read under way began, in nanoseconds after begun; 0: there is none
	cut   atomic.Bool

	ended atomic.Bool
	err   error         // io.EOF aside; to be read after ended
	done  chan struct{} // closed by copyTo
}

// deadliner is what limits the time of reads: an http.ResponseController.
type deadliner interface{ SetReadDeadline(time.Time) error }

// newUpload begins to watch a body, whose reads control limits.
func newUpload(control deadliner, body io.Reader) *upload {
	return &upload{body: body, control: control, begun: time.Now(), done: make(chan struct{})}
}

// waited is how long the sender has kept the provider waiting by now. The time
// in which the provider did not read is not the sender's.
func (u *upload) waited(now time.Time) time.Duration {
	waited := time.Duration(u.spent.Load())
	if since := u.since.Load(); since > 0 {
		waited += max(0, now.Sub(u.begun)-time.Duration(since))
	}
	return waited
}

// cutOff ends the read under way and all to come.
func (u *upload) cutOff() {
	u.cut.Store(true)
	_ = u.control.SetReadDeadline(time.Unix(1, 0))
	if u.onCut != nil {
		u.onCut()
	}
}

// Read reads the body, as long as it comes fast enough.
func (u *upload) Read(p []byte) (int, error) {
	u.reading.Lock()
	defer u.reading.Unlock()
	start := time.Now()
	if !u.latest.IsZero() {
		patience := uploadGrace + time.Duration(u.bytes.Load())*time.Second/uploadRate - time.Duration(u.spent.Load())
		deadline := start.Add(patience)
		if u.latest.Before(deadline) {
			deadline = u.latest
		}
		_ = u.control.SetReadDeadline(deadline)
	}
	if u.cut.Load() { // looked at last: cutOff may have come before the deadline was set
		return 0, u.end(os.ErrDeadlineExceeded)
	}
	u.since.Store(max(1, int64(start.Sub(u.begun))))
	n, err := u.body.Read(p)
	u.since.Store(0)
	u.spent.Add(int64(time.Since(start)))
	u.bytes.Add(int64(n))
	if err != nil {
		err = u.end(err)
	}
	return n, err
}

// end notes why reading is over.
func (u *upload) end(err error) error {
	switch {
	case err == io.EOF:
		u.ended.Store(true)
		return err
	case u.cut.Load():
		err = errCutOff
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = errTooSlow
	}
	u.err = err
	u.ended.Store(true)
	return err
}

// endWith makes reading end with ctx: http.Transport waits for it. The function
// that it returns must be called when the request is answered; it reads what is
// left of the body for drainTime, or closing the connection would take the answer
// with it.
func (u *upload) endWith(ctx context.Context) func() {
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		_ = u.control.SetReadDeadline(time.Unix(1, 0))
	})
	return func() {
		if !stop() {
			<-ended
		}
		_ = u.control.SetReadDeadline(time.Now().Add(drainTime))
		if !u.ended.Load() {
			_, _ = io.Copy(io.Discard, u)
		}
	}
}

// failure is why the body could not be read, nil if it could or may still be.
func (u *upload) failure() error {
	if u == nil || !u.ended.Load() || u.err == nil {
		return nil
	}
	return &clientError{"read the request body", u.err}
}

// copyTo gives the whole to a process and what that does not take to nobody.
// When reading fails it stops the process, which must be killed before it sees
// the end of its input: half a body is no body.
func (u *upload) copyTo(stdin io.WriteCloser, stop context.CancelCauseFunc) {
	defer close(u.done)
	if _, err := io.Copy(stdin, u); err != nil && u.err == nil {
		_, _ = io.Copy(io.Discard, u)
	}
	if err := u.failure(); err != nil {
		stop(err)
		return
	}
	stdin.Close()
}
