package route

import (
	"math"
	"sync"
	"testing"
)

// TestSentIsExclusive: while many note calls and others hear of them, be it twice or too
// late, every call that is known is whole, and is known once.
func TestSentIsExclusive(t *testing.T) {
	const senders, each = 8, 20_000
	s := new(sent)
	s.next.Store(math.MaxUint32 - senders*each/2) // marks begin anew meanwhile
	type noted struct {
		mark   int32
		sender int
		number int64
	}
	calls := make(chan noted, 2*sentSlots) // some are older than what is kept
	functions, forwards := make([]functionState, senders), make([]forwardState, senders)
	var sending, hearing sync.WaitGroup
	for i := range senders {
		sending.Go(func() {
			for n := range int64(each) {
				mark := s.note(n, &functions[i], &forwards[i], why(n%2))
				calls <- noted{mark, i, n + 1}
				calls <- noted{mark, i, n + 1}
			}
		})
	}
	var mu sync.Mutex
	heard := make([]map[int64]bool, senders)
	for i := range heard {
		heard[i] = make(map[int64]bool)
	}
	for range senders {
		hearing.Go(func() {
			for c := range calls {
				if c.mark <= 0 {
					t.Errorf("a call's mark is %d", c.mark)
				}
				got, known := s.take(c.mark)
				if !known {
					continue
				}
				at := c.number - 1
				if want := (sentCall{c.number, at, &functions[c.sender], &forwards[c.sender], why(at % 2)}); got != want {
					t.Errorf("call %d of sender %d is known as %+v", c.number, c.sender, got)
				}
				mu.Lock()
				if heard[c.sender][c.number] {
					t.Errorf("call %d of sender %d is heard of twice", c.number, c.sender)
				}
				heard[c.sender][c.number] = true
				mu.Unlock()
			}
		})
	}
	sending.Wait()
	close(calls)
	hearing.Wait()
	for i := range heard {
		if len(heard[i]) == 0 {
			t.Errorf("nothing that sender %d has sent is known", i)
		}
	}
}
