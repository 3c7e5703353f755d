// Package table holds the weight table: the document that tells one node's
// SPOA, for every function, how much to serve here and whom to send the rest.
//
// The controller writes it, the SPOA validates it, compiles it and swaps it in
// whole. A table is a value: nobody changes one after it was handed over.
package table

import (
	"cmp"
	"slices"
	"time"

	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/spoa/peerid"
)

// Bounds of a table. A table outside them is refused whole.
const (
	MaxBytes  = 16 << 20 // of the JSON document
	MaxTTL    = 24 * time.Hour
	MaxWeight = 1e9
	// MaxClockOffset is more than any clock that was never set is wrong by.
	MaxClockOffset = 100 * 365 * 24 * time.Hour
	MaxTokenLen    = 1024 // bytes
	MaxSourceLen   = 64   // bytes
	MaxNameLen     = funcname.MaxLen
)

// Limits bound the size of a table. 0 means the default, which is that of every
// table a node is sent.
type Limits struct {
	Functions int // default MaxFunctions
	Peers     int // default MaxPeers
	Forwards  int // over all functions, and admissions as many; default MaxForwards
}

// Defaults of Limits.
const (
	MaxFunctions = 4096
	MaxPeers     = 512
	MaxForwards  = 262144
)

func (l Limits) orDefaults() Limits {
	return Limits{cmp.Or(l.Functions, MaxFunctions), cmp.Or(l.Peers, MaxPeers), cmp.Or(l.Forwards, MaxForwards)}
}

// Table is the whole of what one SPOA needs to know, as sent by
// PUT /v1/table.
type Table struct {
	// Speaks is the version that the table is written in, Needs the least that a
	// SPOA must understand to obey it. Both absent: version 1. Encode sets them.
	Speaks, Needs int
	// Version grows by at least one with every table of one controller run;
	// it is there to be logged and compared, not to be obeyed.
	Version uint64
	// NodeID is this node's own peer id: the audience (aud) that the tokens of peers
	// must name.
	NodeID peerid.ID
	// TTLMillis is how long the table may be used after it was received, in
	// milliseconds, 1 to 86,400,000. A table past it decides nothing any more:
	// every request is served locally (fail open).
	TTLMillis int64
	// PeerTLS refuses peers that did not show their certificate: a token alone
	// is not enough.
	PeerTLS bool
	// UnknownLocal sends functions that the table does not name to the local
	// gateway instead of refusing them with 404. The controller sets it while
	// it cannot read the gateway's list of functions.
	UnknownLocal bool
	// Queue says whether this node's gateway takes asynchronous calls
	// (/async-function/NAME), one of the values below. QueueUnknown is of a controller
	// that knows nothing of them: they are routed like all others then.
	Queue string
	// DefaultNamespace, when set, makes NAME and NAME.<DefaultNamespace> the
	// same function. Functions of that namespace are listed by their bare NAME.
	DefaultNamespace string
	// ClockOffsetMillis is what to add to this machine's clock, in milliseconds,
	// to have the time that the federation goes by, which is when tokens begin
	// and end. The clock is read once, when the table comes, so that none of its
	// jumps makes a token invalid.
	ClockOffsetMillis int64

	Functions []Function
	Peers     []Peer
}

// Function is one function's row.
type Function struct {
	// Name is NAME for functions of the default namespace, NAME.NAMESPACE for
	// all others.
	Name funcname.Name
	// Local is nil when the function is not deployed on this node.
	Local *Local
	// Forward lists the peers that have the function, in any order, each peer
	// at most once. A peer without room for us is listed with rate 0: that is
	// how the SPOA tells "over the limit" (429) from "every node is full" (503).
	Forward []Forward
	// Elastic makes rates what is reserved rather than the most: peers are admitted
	// beyond theirs while this node has room, and sent more than theirs while their
	// answers say that they have room, or now and then to find out.
	Elastic bool
	// Unmet is the part of what nodes ask of each other for which nobody has room, 0 to 1:
	// how little there is to be found beyond the rates, with Elastic.
	Unmet float64
	// Async lists peers that take asynchronous calls of the function, MaxAsync at most,
	// in any order and each once. They are asked only if this node has no queue, and
	// need not be in Forward.
	Async []peerid.ID
	// Admit lists from whom calls are admitted, each peer at most once. Who is not
	// named is admitted at rate 0; with Elastic, those that are named share the room.
	// In the document it is turned round: each peer has its rates by function.
	Admit []Admission
}

// Same reports whether both are one row, handed on from one table to the next. It is
// quick, and may be false for rows that are equal.
func (f *Function) Same(other *Function) bool {
	return f.Name == other.Name && f.Local == other.Local && f.Elastic == other.Elastic && f.Unmet == other.Unmet &&
		sameSlice(f.Forward, other.Forward) && sameSlice(f.Admit, other.Admit) && sameSlice(f.Async, other.Async)
}

// Equal reports whether both say the same.
func (f *Function) Equal(other *Function) bool {
	return f.Name == other.Name && f.Elastic == other.Elastic && f.Unmet == other.Unmet &&
		(f.Local == nil) == (other.Local == nil) && (f.Local == nil || *f.Local == *other.Local) &&
		slices.Equal(f.Forward, other.Forward) && slices.Equal(f.Admit, other.Admit) && slices.Equal(f.Async, other.Async)
}

// TakeOver has a row share with the one before of the same function what both say, which
// makes them Same if that is all.
func (f *Function) TakeOver(before *Function) {
	if f.Local != nil && before.Local != nil && *f.Local == *before.Local {
		f.Local = before.Local
	}
	f.Forward, f.Admit, f.Async = takeOver(f.Forward, before.Forward), takeOver(f.Admit, before.Admit), takeOver(f.Async, before.Async)
}

func takeOver[T comparable](now, before []T) []T {
	if !sameSlice(now, before) && slices.Equal(now, before) {
		return before
	}
	return now
}

// sameSlice reports whether both are the same part of the same array, or both empty.
func sameSlice[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// Admission is at which rate calls of a function are admitted from a peer.
type Admission struct {
	Peer peerid.ID // one of Table.Peers
	Rate limit.Bound
}

// Values of Table.Queue.
const (
	QueueUnknown = ""
	QueueHere    = "here"
	QueueNone    = "none"
	QueueDown    = "down" // it has one, and does not answer
)

// MaxAsync is the most peers that may be listed for the asynchronous calls of one
// function.
const MaxAsync = 16

// Local says how a function is served on this node.
type Local struct {
	// Rate is the node's capacity for the function. User requests within it are
	// served here. Peers' requests draw on the same capacity, after the users': what
	// users take is not left for peers, what peers take never refuses a user.
	Rate limit.Bound
	// Soft makes Rate a threshold for forwarding only: user requests over it
	// that no peer takes are served here rather than refused. Set for rates
	// that nobody wrote (the node's default).
	Soft bool
	// Share is the fraction of user requests, 0 to 1, tried here first; the
	// others try the peers first. 1 for strategies that forward surplus only.
	Share float64
	// TimeoutMillis is HAProxy's server timeout for the function in
	// milliseconds; 0 leaves HAProxy's own. At most 3,600,000.
	TimeoutMillis int64
}

// Forward is one peer that may be sent user requests of one function.
type Forward struct {
	Peer peerid.ID // one of Table.Peers
	// Weight is this peer's part in the draw among the peers with rate left,
	// relative to the others', >= 0. Weight 0 is never drawn.
	Weight float64
	// Rate is the most that this node sends the peer.
	Rate limit.Bound
	// Spare is what the peer is thought to have left: where to try beyond Rate, with
	// Function.Elastic. 0: never.
	Spare limit.Rate
	// TimeoutMillis is how long the peer lets the function take, in
	// milliseconds, for calls of a function for which Local has no TimeoutMillis;
	// 0 leaves HAProxy's own. At most 3,600,000.
	TimeoutMillis int64
}

// Peer is another node of the federation, and what to show it when sending it ours.
type Peer struct {
	ID peerid.ID
	// Token is presented to the peer as DFaaS-Token; minted for this peer only.
	// Empty: nothing may be forwarded to it.
	Token string
	// Source stands for where the peer is, such as its network: with Function.Elastic,
	// peers of one Source share the room beyond their rates as if they were one. Empty:
	// it is one by itself. At most MaxSourceLen bytes.
	Source string
}

// ClockOffset returns what to add to this machine's clock.
func (t *Table) ClockOffset() time.Duration {
	return time.Duration(t.ClockOffsetMillis) * time.Millisecond
}

// TTL returns the table's time to live.
func (t *Table) TTL() time.Duration { return time.Duration(t.TTLMillis) * time.Millisecond }
