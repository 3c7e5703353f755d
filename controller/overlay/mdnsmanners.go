package overlay

import (
	"math/rand/v2"
	"time"
)

const (
	// The pauses between questions grow from mdnsFirst to mdnsLast.
	mdnsFirst = 2 * time.Second
	mdnsLast  = time.Minute
	// mdnsGap is what lies at least between two answers: all hear each of them.
	mdnsGap = time.Second
	// Who starts says so that often, unasked, with pauses that double from mdnsGap.
	mdnsGreetings = 3
)

// mdnsManners is when a node asks and answers on one network. All hear all that is said,
// so that what everybody says in answer to everybody would grow with the square of the
// members: a question that another one asks, with no answers that it knows, is as good as one's own (RFC 6762, 7.3),
// nobody answers more than once a second (6), or at once (6), and questions come ever more
// seldom (5.2). Pure; not safe for concurrent use.
type mdnsManners struct {
	pause     time.Duration // until the question after the next one
	question  time.Time     // when the next one is due
	answer    time.Time     // when one is due; zero: nobody has asked
	answered  time.Time     // last; zero: never
	greetings int           // answers still to be given unasked
	greeting  time.Time     // when the next of these is due
}

func newMDNSManners(now time.Time) *mdnsManners {
	m := &mdnsManners{pause: mdnsFirst, question: now.Add(moment()), greetings: mdnsGreetings}
	m.greeting = m.question
	return m
}

// moment keeps those who hear the same from speaking at the same time.
func moment() time.Duration { return 20*time.Millisecond + rand.N(100*time.Millisecond) }

// heard takes in another one's question, which this node need not answer if what it would
// say is known already. same: all answers to this node's own question are answers to it.
func (m *mdnsManners) heard(now time.Time, known, same bool) {
	if !known && m.answer.IsZero() {
		m.answer = now.Add(moment())
		if soonest := m.answered.Add(mdnsGap); m.answer.Before(soonest) {
			m.answer = soonest
		}
	}
	// One that would be long in coming is not replaced: who has heard it may be gone by then.
	if same && m.question.Sub(now) < m.pause/4 {
		m.asked(now)
	}
}

// asked puts the next question off.
func (m *mdnsManners) asked(now time.Time) {
	m.question = now.Add(jitter(m.pause))
	m.pause = min(2*m.pause, mdnsLast)
}

// due says what is to be sent now, and takes it for sent.
func (m *mdnsManners) due(now time.Time) (ask, answer bool) {
	if !m.question.After(now) {
		ask = true
		m.asked(now)
	}
	if m.greetings > 0 && !m.greeting.After(now) {
		answer = true
		m.greeting = now.Add(mdnsGap << (mdnsGreetings - m.greetings))
		m.greetings--
	}
	if answer || !m.answer.IsZero() && !m.answer.After(now) {
		answer, m.answer, m.answered = true, time.Time{}, now
	}
	return ask, answer
}

// next is when something is due next.
func (m *mdnsManners) next() time.Time {
	next := m.question
	if m.greetings > 0 && m.greeting.Before(next) {
		next = m.greeting
	}
	if !m.answer.IsZero() && m.answer.Before(next) {
		next = m.answer
	}
	return next
}
