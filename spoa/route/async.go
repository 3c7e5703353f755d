package route

import (
	"net/http"
	"sync/atomic"

	"github.com/dfaas/dfaas/spoa/table"
)

// Asynchronous calls are for a queue, which takes them whatever the function can
// serve at the moment. So neither its rate nor its capacity matters, and they count
// for neither: what a peer may send of them is bounded by rates of their own.
const (
	// asyncAdmitted is how many asynchronous calls a second are admitted from a peer,
	// of all functions together; asyncSent how many are sent to one. The latter is
	// less, so that nobody is refused who keeps to it.
	asyncAdmitted, asyncSent = 100, 80
)

// asyncState is what one peer in all snapshots shares: the states of peer.asyncSent
// and peer.asyncAdmitted.
type asyncState struct{ sent, admitted atomic.Int64 }

// keepAsync continues the peer's buckets; old is nil for a new peer.
func (p *peer) keepAsync(old *peer) {
	if old != nil {
		p.async = old.async
	} else {
		p.async = new(asyncState)
	}
	p.asyncSent = bucketAt(asyncSent, &p.async.sent)
	p.asyncAdmitted = bucketAt(asyncAdmitted, &p.async.admitted)
}

// takers are the peers that take a function's asynchronous calls.
func (s *Snapshot) takers(tf *table.Function) []int32 {
	var takers []int32
	for _, id := range tf.Async {
		if p := s.peer(id.String()); p.token != "" {
			takers = append(takers, p.place)
		}
	}
	return takers
}

// admitAsync decides what becomes of an asynchronous call. Of a table by a
// controller that does not know of queues it says nothing: such calls are routed as
// others are.
func (s *Snapshot) admitAsync(at int64, from Caller, name string, c *Call, d *Decision) {
	f := s.function(name)
	switch {
	case s.table.Queue == table.QueueUnknown:
		s.admit(at, from, name, c, d)
	case from.peer != nil:
		s.asyncFromPeer(at, f, from.peer, c, d)
	case f == nil || f.refusal == http.StatusNotFound && len(f.takers) == 0:
		s.unknown(at, name, c, d)
	default:
		s.asyncFromUser(at, f, c, d)
	}
}

func (s *Snapshot) asyncFromUser(at int64, f *function, c *Call, d *Decision) {
	here, gone := f.local && s.table.Queue == table.QueueHere, c.GatewayDown || c.notTaken()
	if here && !gone {
		f.meter.AsyncLocal.Add(1)
		return
	}
	// Each in turn, but for those that were sent too many already.
	first := int(f.sequences.turn.next() * float64(len(f.takers)))
	for i := range f.takers {
		if first+i == len(f.takers) {
			first = -i
		}
		p := &s.peers[f.takers[first+i]]
		if p.asyncSent.take(at) {
			f.meter.AsyncForwarded.Add(1)
			d.Action, d.Target, d.Token, d.Status = Peer, p.id, p.token, http.StatusServiceUnavailable
			return
		}
	}
	if here { // nobody else has it: its gateway may be back
		f.meter.AsyncLocal.Add(1)
		return
	}
	f.meter.AsyncRefused.Add(1)
	switch {
	case len(f.takers) > 0:
		d.deny(http.StatusTooManyRequests)
	case s.table.Queue == table.QueueDown:
		d.deny(http.StatusServiceUnavailable)
	default:
		d.deny(http.StatusNotImplemented)
	}
}

func (s *Snapshot) asyncFromPeer(at int64, f *function, p *peer, c *Call, d *Decision) {
	switch {
	case (f == nil || !f.local) && s.table.UnknownLocal:
		s.meter.Open()
	case f == nil:
		s.meter.NotFound()
		d.deny(http.StatusServiceUnavailable)
	case !f.local || s.table.Queue != table.QueueHere || c.GatewayDown:
		// The peer has yet to hear of it.
		f.meter.AsyncRefused.Add(1)
		d.deny(http.StatusServiceUnavailable)
	case !p.asyncAdmitted.take(at):
		f.meter.AsyncRefused.Add(1)
		d.deny(http.StatusTooManyRequests)
	default:
		f.meter.AsyncPeers.Add(1)
	}
}
