package queue

import (
	"slices"
	"time"
)

// idle is the longest that Run sleeps.
const idle = time.Minute

// lane is a number of things that may be under way at once, and so many of one source.
type lane struct {
	most, each int
	underWay   int
	bySource   map[string]int
}

func newLane(most, each int) lane {
	return lane{most: most, each: each, bySource: make(map[string]int)}
}

func (l *lane) full() bool { return l.underWay >= l.most }

func (l *lane) open(source string) bool { return !l.full() && l.bySource[source] < l.each }

func (l *lane) enter(source string) {
	l.underWay++
	l.bySource[source]++
}

func (l *lane) leave(source string) {
	l.underWay--
	if l.bySource[source]--; l.bySource[source] == 0 {
		delete(l.bySource, source)
	}
}

// next begins the call that is to be begun now, or returns how long there is none
// unless something ends. Of those that may begin, those of the sources with the
// fewest under way come first, and of these the oldest: who has many calls waiting
// does not keep others waiting.
func (q *Queue) next(now time.Time) (*entry, time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var best *entry
	wait, room := idle, make(map[string]bool)
	for _, e := range q.entries {
		if e.begun {
			continue
		}
		if left := e.due.Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		lane := q.lane(e)
		if !lane.open(e.source) || best != nil && q.lane(best).bySource[best.source] <= lane.bySource[e.source] {
			continue
		}
		if !e.done {
			// Its result may take as much room as any.
			if e.callback && q.usage.crowded(e.source) {
				continue
			}
			free, known := room[e.function]
			if !known {
				free = q.o.Executor.Room(e.function, q.running[e.function])
				room[e.function] = free
			}
			if !free {
				wait = min(wait, recheck)
				continue
			}
		}
		best = e
	}
	if best == nil {
		return nil, wait
	}
	best.begun = true
	q.lane(best).enter(best.source)
	if !best.done {
		q.running[best.function]++
	}
	return best, 0
}

func (q *Queue) lane(e *entry) *lane {
	if e.done {
		return &q.posts
	}
	return &q.workers
}

// end notes that a call is not under way any more, and changes it.
func (q *Queue) end(e *entry, change func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.leave(e)
	change()
}

// remove takes a call out that was under way.
func (q *Queue) remove(e *entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.leave(e)
	a := e.amount()
	q.usage.change(e.source, amount{-a.calls, -a.bytes, -a.results})
	q.entries = slices.DeleteFunc(q.entries, func(other *entry) bool { return other == e })
}

func (q *Queue) leave(e *entry) {
	e.begun = false
	q.lane(e).leave(e.source)
	if e.done {
		return
	}
	if q.running[e.function]--; q.running[e.function] == 0 {
		delete(q.running, e.function)
	}
}
