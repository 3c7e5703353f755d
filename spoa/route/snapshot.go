package route

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/peerid"
	"github.com/dfaas/dfaas/spoa/table"
	"github.com/dfaas/dfaas/spoa/token"
)

// Snapshot is a table made ready to decide by. Nothing in it changes but the
// atomics of buckets, sequences and counters, which it shares with the
// snapshots before and after it: no request is forgotten when a new one comes.
type Snapshot struct {
	table      table.Valid
	generation uint64    // number of snapshots, this one and those before
	epoch      time.Time // zero of the times in buckets; that of the first snapshot
	expires    int64     // ns since epoch
	// received is when the table came, by this machine's clock; clock the time in
	// the federation then.
	received, clock time.Time

	sent     *sent
	users    *users
	verifier *token.Verifier
	meter    *meter.Meter
	// functions are the rows of the table. Those that are the same in the next table are
	// shared with the next snapshot, and so are the places of functions and peers as long
	// as there are the same ones.
	functions []*function
	places    map[string]int32 // of functions, by every name that a path may have it under
	peers     []peer
	peerPlace map[string]int32 // by the text of the id, as which requests have it

	// missed are functions that are gone together with the last peer that had
	// them, and until when (ns since epoch) it may come back with them.
	missed map[string]int64
	// guess bounds how often the gateway is asked for what nobody is known to have,
	// but for what it had a moment ago.
	guess bucket
	found *found
}

// function is one row.
type function struct {
	row   table.Function // that it was compiled from
	meter *meter.Row

	local    bool // deployed here
	soft     bool
	elastic  bool
	share    float64
	timeout  int32  // of calls that are served here
	user     bucket // users' requests served here
	capacity bucket // all requests served here

	// forwards are all peers that have it, those of the greatest weight first; drawn are
	// the first of them, which have any.
	forwards      []forward
	drawn         []forward
	upTo          []float64   // of each drawn: the sum of the weights up to and including its own
	takers        []int32     // whose queues take its asynchronous calls, see async.go
	weight        float64     // sum over all
	planned       bucket      // what may be sent by plan to all together, see thrift.go; unlimited if not elastic
	overcommit    float64     // how many times the room that it is told of is used
	perCall, owed int64       // credit that a call earns, and that may be owed, see trials.go
	refusal       int32       // status for users whom nobody serves
	admits        []admission // by place of the peer
	// fair is how much of the capacity bucket, in ns, a peer that has had more than the
	// others leaves untouched at most, with what is beyond its rate; userFair is the
	// same of the users' bucket.
	fair, userFair int64
	bySource       map[string]*sender // those that several peers share

	*functionState
}

// functionState is what a row shares with the same function's rows in other
// snapshots.
type functionState struct {
	usedByUsers, usedByAll atomic.Int64 // state of function.user and function.capacity
	// dryUntil is a time before which no peer has rate left, known from the last
	// time that all were looked at.
	dryUntil atomic.Int64
	// roomUntil is a time after which no peer's answer says that it has room.
	roomUntil atomic.Int64
	sequences
	trials
	thrift          thrift
	relief          relief
	senders, beyond sharing // peers' calls: all, and those beyond their rates
	others          sender  // all peers that the table names no rate for
	byUsers         sharing // users' calls served here
	salt            uint64  // of its slots in users
}

// forward is a peer to send one function's requests to.
type forward struct {
	bucket
	weight  float64 // 0 also for those that nothing can be sent to
	spare   float64 // requests/s; 0 where nothing is tried beyond the rate
	rate    float64 // requests/ns; 0 for unlimited, too
	timeout int32   // of calls that are sent there
	peer    int32   // place
	state   *forwardState
	count   *meter.Out
}

// forwardState is what the forwards to one peer in all snapshots share.
type forwardState struct {
	used atomic.Int64 // state of forward.bucket
	echo
}

// peer is another node.
type peer struct {
	id     peerid.ID
	place  int32
	token  string // to show it
	source string // see table.Peer
	shares bool   // it, with other peers
	issuer *token.Issuer

	async                    *asyncState
	asyncSent, asyncAdmitted bucket // asynchronous calls to it, and from it
}

// admission is a peer's inbound rate of one function.
type admission struct {
	bucket
	word   word
	peer   int32 // place
	state  *admissionState
	count  *meter.In
	sender *sender // its own, or that of its source
}

// admissionState is what the admissions of one peer in all snapshots share.
type admissionState struct {
	used atomic.Int64 // state of admission.bucket
	sender
}

func (s *Snapshot) sinceEpoch(now time.Time) int64 { return now.Sub(s.epoch).Nanoseconds() }

// inFederation is the time in the federation, which goes on evenly from when the
// table came, whatever becomes of this machine's clock.
func (s *Snapshot) inFederation(now time.Time) time.Time { return s.clock.Add(now.Sub(s.received)) }

// functionNear is function of that name, which is probably at that place of the table.
func (s *Snapshot) functionNear(place int, name string) *function {
	if place < len(s.functions) && s.functions[place].row.Name.String() == name {
		return s.functions[place]
	}
	return s.function(name)
}

// function returns the function that a path has under that name, or nil.
func (s *Snapshot) function(name string) *function {
	if place, known := s.places[name]; known {
		return s.functions[place]
	}
	return nil
}

// peer returns the peer whose id has that text, or nil. Texts of requests need not be
// anybody's: they are looked up as they are.
func (s *Snapshot) peer(id string) *peer {
	if place, known := s.peerPlace[id]; known {
		return &s.peers[place]
	}
	return nil
}

// peerNear is peer of that id, which is probably at that place: rows mostly list peers in
// the order in which the table has them.
func (s *Snapshot) peerNear(place int32, id peerid.ID) *peer {
	if int(place) < len(s.peers) && s.peers[place].id == id {
		return &s.peers[place]
	}
	return s.peer(id.String())
}

// row returns the function that the table has under that name, not one that has
// it as an alias.
func (s *Snapshot) row(name string) *function {
	if f := s.function(name); f != nil && f.row.Name.String() == name {
		return f
	}
	return nil
}

// admission is that of a peer, nil if it is not named.
func (f *function) admission(peer int32) *admission {
	if int(peer) < len(f.admits) && f.admits[peer].peer == peer { // as it is where all peers are named
		return &f.admits[peer]
	}
	i, named := slices.BinarySearchFunc(f.admits, peer, func(a admission, peer int32) int { return int(a.peer - peer) })
	if !named {
		return nil
	}
	return &f.admits[i]
}

// aliasOf returns the other name of a function of the default namespace.
func aliasOf(name funcname.Name, defaultNamespace string) (string, bool) {
	if _, named := name.Namespace(); named || defaultNamespace == "" {
		return "", false
	}
	return name.String() + "." + defaultNamespace, true
}
