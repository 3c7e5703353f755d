// Package queue keeps asynchronous calls on disk until they are done, has them
// executed, tries again those that fail for now, and delivers results to who asked
// for them.
//
// A call that Put has taken is executed at least once, whatever becomes of the
// program: one that was under way when it died is executed again. How many calls
// there may be, and how many of one source, is bounded: see share.go.
package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Why Put has not taken a call. None of them is the caller's mistake but ErrTooLarge.
var (
	ErrFull     = errors.New("the queue is full")
	ErrShare    = errors.New("as many calls of this source wait as there is room for others")
	ErrTooLarge = errors.New("the call is too large for the queue")
	ErrDisk     = errors.New("the queue cannot be written")
)

// Options is what a queue is made of.
type Options struct {
	Path  string // of its file, which nobody else uses
	Calls int    // that may be in it, 1 at least
	Bytes int64  // that they may take together, with the results that wait for delivery
	// Workers is how many calls are executed at once. Half as many are of one source
	// at most.
	Workers int
	// Allowed are networks, besides public addresses, that results may be delivered to.
	Allowed  []netip.Prefix
	Executor Executor
	Log      zerolog.Logger
}

// Executor makes calls. It must be safe for concurrent use.
type Executor interface {
	// Room reports whether a function could take one more asynchronous call now,
	// besides those that are under way.
	Room(function string, underWay int) bool
	// Execute makes a call. It returns soon when the context ends, and then what it
	// returns does not count.
	Execute(ctx context.Context, c *Call, body []byte) Result
	// Policy is when calls of the function are tried again.
	Policy(function string) Policy
}

// callbacks is how many results are delivered at once, callbacksEach of one source.
const (
	callbacks     = 16
	callbacksEach = 4
)

const (
	// recheck is how soon a function without room is looked at again.
	recheck = 50 * time.Millisecond
	// rewrite is how soon what could not be written is written again.
	rewrite = time.Second
)

// Queue is a queue of calls. It is safe for concurrent use.
type Queue struct {
	o         Options
	store     *store
	messenger *messenger
	counters  counters
	wake      chan struct{} // gets a value when there may be something to begin

	mu      sync.Mutex
	entries []*entry // by seq
	usage   usage
	running map[string]int // executions under way, by function
	workers lane
	posts   lane
}

// entry is a call in the queue. It is guarded by Queue.mu.
type entry struct {
	seq      uint64
	function string
	source   string
	size     int64 // bytes on disk
	accepted time.Time
	due      time.Time
	done     bool // executed: what is left is the callback
	callback bool
	begun    bool // under way
}

// Open opens the queue, with the calls that are in its file, and executes none yet.
func Open(o Options) (*Queue, error) {
	s, err := openStore(o.Path)
	if err != nil {
		return nil, err
	}
	q := &Queue{
		o: o, store: s, messenger: newMessenger(o.Allowed), wake: make(chan struct{}, 1), running: make(map[string]int),
		usage:   newUsage(o.Calls, o.Bytes),
		workers: newLane(o.Workers, max(1, o.Workers/2)), posts: newLane(callbacks, callbacksEach),
	}
	q.counters.init()
	unread, err := s.each(func(seq uint64, r *record, size int64) {
		e := entryOf(seq, r, size)
		q.entries = append(q.entries, e)
		q.usage.change(e.source, e.amount())
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the queue: %w", err), s.close())
	}
	if unread > 0 {
		o.Log.Warn().Int("calls", unread).Str("queue", o.Path).Msg("calls in the queue are of a later release, or damaged: they stay there")
	}
	if n := len(q.entries); n > 0 {
		o.Log.Info().Int("calls", n).Msg("asynchronous calls of an earlier run wait")
	}
	return q, nil
}

func entryOf(seq uint64, r *record, size int64) *entry {
	return &entry{
		seq: seq, function: r.Function, source: r.Source, size: size, accepted: r.Accepted, due: r.Due, done: r.Result != nil,
		callback: r.Callback != "",
	}
}

// amount is what the call takes of the queue.
func (e *entry) amount() amount {
	a := amount{calls: 1, bytes: e.size}
	if e.done {
		a.results = e.size
	}
	return a
}

// Close closes the file. Run must have ended.
func (q *Queue) Close() error { return q.store.close() }

// Check reports whether Put would take a call of that source now, as far as can be
// said before its body is there: nil, ErrFull or ErrShare.
func (q *Queue) Check(source string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.usage.check(source, 0)
}

// Put takes a call: when it returns nil, the call is on the disk. Errors are ErrFull,
// ErrShare, ErrTooLarge or ErrDisk, and then the call is not taken.
func (q *Queue) Put(c Call, body []byte) error {
	if len(body) > MaxBody {
		return fmt.Errorf("%w: its body has %d bytes, %d at most", ErrTooLarge, len(body), MaxBody)
	}
	now := time.Now()
	c.Accepted = now
	r := &record{Call: c, Due: now}
	text, err := r.encode()
	if err != nil {
		return err
	}
	size := int64(len(text) + len(body))
	if err := q.take(c.Source, size); err != nil {
		return err
	}
	seq, err := q.store.add(r, body)
	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil {
		q.usage.change(c.Source, amount{calls: -1, bytes: -size})
		q.counters.refused.WithLabelValues("disk").Inc()
		return err
	}
	e := entryOf(seq, r, size)
	at, _ := slices.BinarySearchFunc(q.entries, seq, func(e *entry, seq uint64) int { return cmp.Compare(e.seq, seq) })
	q.entries = slices.Insert(q.entries, at, e)
	q.nudge()
	return nil
}

// take takes room for a call.
func (q *Queue) take(source string, size int64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	err := q.usage.check(source, size)
	switch err {
	case nil:
		q.usage.change(source, amount{calls: 1, bytes: size})
	case ErrShare:
		q.counters.refused.WithLabelValues("share").Inc()
	default:
		q.counters.refused.WithLabelValues("full").Inc()
	}
	return err
}

// nudge has Run look whether there is something to begin.
func (q *Queue) nudge() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Run executes calls and delivers results until begin ends; those under way then go
// on until calls ends. It returns when none is under way any more.
func (q *Queue) Run(begin, calls context.Context) {
	var underWay sync.WaitGroup
	defer underWay.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		for {
			e, wait := q.next(time.Now())
			if e == nil {
				timer.Reset(wait)
				break
			}
			underWay.Go(func() {
				q.process(calls, e)
				q.nudge()
			})
		}
		select {
		case <-begin.Done():
			return
		case <-q.wake:
		case <-timer.C:
		}
		if begin.Err() != nil {
			return
		}
	}
}

// process does what is next for a call that next has returned.
func (q *Queue) process(ctx context.Context, e *entry) {
	r, body, err := q.store.read(e.seq)
	switch {
	case err != nil:
		q.o.Log.Error().Err(err).Str("function", e.function).Msg("an asynchronous call cannot be read: it is left in the queue until the next start")
		q.end(e, func() { e.due = time.Now().Add(1000 * time.Hour) })
	case r.Result != nil:
		q.callBack(ctx, e, r, body)
	default:
		q.execute(ctx, e, r, body)
	}
}

// execute has a call executed and notes what came of it.
func (q *Queue) execute(ctx context.Context, e *entry, r *record, body []byte) {
	log := q.o.Log.With().Str("function", r.Function).Str("call", r.ID).Logger()
	policy := q.o.Executor.Policy(r.Function)
	if r.Tries >= policy.Attempts { // it has ended this program every time
		log.Error().Int("tries", r.Tries).Msg("an asynchronous call was under way whenever the provider died: it is given up")
		q.conclude(ctx, e, r, Result{Status: 500}, "abandoned")
		return
	}
	r.Tries++
	if err := q.store.change(e.seq, r); err != nil { // it is executed all the same
		log.Warn().Err(err).Msg("that an asynchronous call begins could not be written down")
	}
	begun := time.Now()
	result := q.o.Executor.Execute(ctx, &r.Call, body)
	result.Duration = time.Since(begun)
	if ctx.Err() != nil {
		r.Tries-- // it is executed again when the provider starts
		_ = q.store.change(e.seq, r)
		q.end(e, func() { e.due = time.Now() })
		return
	}
	if wait, again := policy.again(result, r.Tries); again {
		r.Due = time.Now().Add(wait)
		q.write(ctx, func() error { return q.store.change(e.seq, r) })
		q.counters.retries.Inc()
		log.Debug().Int("status", result.Status).Int("tries", r.Tries).Dur("wait", wait).Msg("an asynchronous call is tried again")
		q.end(e, func() { e.due = r.Due })
		return
	}
	outcome := "served"
	if result.Status >= 400 {
		outcome = "failed"
		log.Info().Int("status", result.Status).Int("tries", r.Tries).Msg("an asynchronous call has failed")
	}
	q.conclude(ctx, e, r, result, outcome)
}

// conclude takes a call that is done out of the queue, or leaves its result there for
// the callback.
func (q *Queue) conclude(ctx context.Context, e *entry, r *record, result Result, outcome string) {
	q.counters.done.WithLabelValues(outcome).Inc()
	if r.Callback == "" {
		q.write(ctx, func() error { return q.store.remove(e.seq) })
		q.remove(e)
		return
	}
	body := result.Body
	r.Result, r.Tries, r.Due, r.Header = &result, 0, time.Now(), nil
	text, err := r.encode()
	if err != nil { // the function's header fields are too long
		result.Header = nil
		if text, err = r.encode(); err != nil {
			text = nil // no record is larger than the one that was read
		}
	}
	q.write(ctx, func() error { return q.store.finish(e.seq, r, body) })
	q.end(e, func() {
		e.done, e.due = true, r.Due
		size := int64(len(text) + len(body))
		q.usage.change(e.source, amount{bytes: size - e.size, results: size})
		e.size = size
	})
}

// callBack delivers a result.
func (q *Queue) callBack(ctx context.Context, e *entry, r *record, body []byte) {
	again, err := q.messenger.deliver(ctx, r, body)
	if ctx.Err() != nil && err != nil {
		q.end(e, func() { e.due = time.Now() })
		return
	}
	outcome := "delivered"
	switch r.Tries++; {
	case err == nil:
	case again && r.Tries < callbackTries:
		r.Due = time.Now().Add(backoff(callbackMinWait, callbackMaxWait, r.Tries))
		q.write(ctx, func() error { return q.store.change(e.seq, r) })
		q.counters.callbacks.WithLabelValues("retried").Inc()
		q.end(e, func() { e.due = r.Due })
		return
	case errors.Is(err, errAddress):
		outcome = "refused"
	default:
		outcome = "failed"
	}
	if err != nil {
		q.o.Log.Info().Str("function", r.Function).Str("call", r.ID).Str("callback", r.Callback).AnErr("error", err).
			Msg("a result is not delivered")
	}
	q.counters.callbacks.WithLabelValues(outcome).Inc()
	q.write(ctx, func() error { return q.store.remove(e.seq) })
	q.remove(e)
}

// write writes what became of a call, again and again while the disk does not take
// it: meanwhile the call holds its place, so that no more is begun than can be ended.
func (q *Queue) write(ctx context.Context, change func() error) {
	for logged := false; ; logged = true {
		err := change()
		if err == nil {
			return
		}
		if !logged {
			q.o.Log.Error().Err(err).Msg("the queue cannot be written: what is done may be done again after a restart")
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(rewrite):
		}
	}
}
