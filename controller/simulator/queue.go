package simulator

// queue has the events that are to come. Most come within a second, many thousands of
// them, so they are kept by slots of time, in no order: only those of the slot that is
// under way are in a heap, which is small. What comes later than all slots waits in
// another one.
type queue struct {
	seq   uint64
	size  int
	now   eventHeap // those before the end of the slot under way
	later eventHeap // those after the last slot
	slot  int64     // that is under way, by its number since time 0
	first [slots]int32
	links []link // of the events in slots
	free  int32  // first link that is free; 0: none
}

// link is an event and the place of the next one of its slot; 0: it is the last.
type link struct {
	event
	next int32
}

const (
	slots     = 1 << 12
	slotShift = 18 // a slot is 2^18 ns, a quarter of a millisecond
)

func (q *queue) push(e event) {
	q.seq++
	e.seq = q.seq
	q.size++
	switch slot := int64(e.at) >> slotShift; {
	case slot <= q.slot:
		q.now.push(e)
	case slot < q.slot+slots:
		q.keep(slot, e)
	default:
		q.later.push(e)
	}
}

// keep puts an event into its slot.
func (q *queue) keep(slot int64, e event) {
	if len(q.links) == 0 {
		q.links = make([]link, 1) // place 0 is none
	}
	at := q.free
	if at == 0 {
		at = int32(len(q.links))
		q.links = append(q.links, link{})
	} else {
		q.free = q.links[at].next
	}
	head := &q.first[slot%slots]
	q.links[at] = link{e, *head}
	*head = at
}

// empty reports whether there are no events.
func (q *queue) empty() bool { return q.size == 0 }

// pop takes out the earliest event, of those at one time that which was put in first;
// there must be one.
func (q *queue) pop() event {
	for len(q.now) == 0 {
		q.advance()
	}
	q.size--
	return q.now.pop()
}

// advance goes on to the next slot.
func (q *queue) advance() {
	q.slot++
	if q.size == len(q.later) { // nothing is in the slots
		q.slot = max(q.slot, int64(q.later[0].at)>>slotShift)
	}
	head := &q.first[q.slot%slots]
	for at := *head; at != 0; {
		l := &q.links[at]
		q.now.push(l.event)
		at, l.next, q.free = l.next, q.free, at
	}
	*head = 0
	for len(q.later) > 0 {
		slot := int64(q.later[0].at) >> slotShift
		switch {
		case slot <= q.slot:
			q.now.push(q.later.pop())
		case slot < q.slot+slots:
			q.keep(slot, q.later.pop())
		default:
			return
		}
	}
}

// eventHeap is a heap, by hand: container/heap would put each event into an interface,
// and there are millions a second.
type eventHeap []event

func (e *event) before(other *event) bool {
	return e.at < other.at || e.at == other.at && e.seq < other.seq
}

func (h *eventHeap) push(e event) {
	*h = append(*h, e)
	heap := *h
	i := len(heap) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if !e.before(&heap[parent]) {
			break
		}
		heap[i] = heap[parent]
		i = parent
	}
	heap[i] = e
}

func (h *eventHeap) pop() event {
	heap := *h
	first, last := heap[0], len(heap)-1
	e := heap[last]
	*h = heap[:last]
	for i := 0; last > 0; {
		least, earliest := i, &e
		for child := 4*i + 1; child <= 4*i+4 && child < last; child++ {
			if heap[child].before(earliest) {
				least, earliest = child, &heap[child]
			}
		}
		if least == i {
			heap[i] = e
			break
		}
		heap[i] = heap[least]
		i = least
	}
	return first
}
