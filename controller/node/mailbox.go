package node

// mailbox hands the newest value from one sender to one receiver; a value that
// was not fetched in time is replaced. Neither side ever waits for the other.
type mailbox[T any] chan T

func newMailbox[T any]() mailbox[T] { return make(mailbox[T], 1) }

// put leaves v in the mailbox instead of what is in it.
func (m mailbox[T]) put(v T) {
	select {
	case <-m:
	default:
	}
	m <- v // room: there is one sender
}
