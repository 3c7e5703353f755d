package core

import (
	"net/netip"
	"time"

	"github.com/dfaas/dfaas/controller/estimate"
	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/peerid"
	"github.com/dfaas/dfaas/spoa/table"
)

// Event is something that has happened: one of the types below.
type Event interface{ event() }

// Tick is that time has passed, and nothing else.
type Tick struct{}

// Metered is the answer to Effects.ReadMeter.
type Metered struct {
	Report *meter.Report // nil if the SPOA did not answer; the core's from then on
	// Earlier are, with the first answer, the peers in the table that an earlier
	// run of this controller has left to the SPOA.
	Earlier []peerid.ID
	Err     error
}

// TablePut is what became of Effects.Table.
type TablePut struct {
	Refused bool // the SPOA is there and does not want it
	Err     error
}

// HAProxy is what HAProxy says of its servers. It is told when it has changed.
type HAProxy struct {
	Servers map[string]Server // of peers, by id; nil if they could not be read; the core's from then on
	// Answers is what became of the calls that peers were sent, functions by the name
	// as they were called; nil with Servers; the core's from then on.
	Answers map[estimate.Offered]estimate.Answers
	Gateway estimate.Answers // of this node's gateway
	// Calls are those of functions at this node's gateway, by the name as it was
	// called; nil if they could not be read.
	Calls map[string]estimate.Calls
	Err   error
}

// Server is a peer's server in HAProxy.
type Server struct {
	Up bool // requests can be sent there
}

// Gateway is a look at the functions of this node's gateway, or an error.
type Gateway struct {
	Functions []Function // sorted by name; the core's from then on
	Async     bool       // it takes asynchronous calls of them
	Refused   []string   // which functions were left out and why, one line each
	Err       error
}

// Heard is another node's announcement, within the bounds of package wire.
type Heard struct {
	From         peerid.ID // of the author, who signed it
	Announcement wire.Announcement
	membership.Via
}

// Announced is what became of Effects.Announce.
type Announced struct {
	Left []string // functions for which there was no room
	Err  error
}

// Connected is how many nodes this one is connected to, when that has changed.
type Connected struct{ Peers int }

// Unfed is how many members the feeds of this node do not reach, when that has changed:
// what is for all of them has to go to everybody. 0 until it is told.
type Unfed struct{ Members int }

// ClockSet is that this machine's clock was set.
type ClockSet struct {
	Wall time.Duration // clock minus the time that Step is given
}

// PlanTook is how long the last plan took on this machine, so that plans for
// changes take a small part of its time only. It may be left out.
type PlanTook struct{ Time time.Duration }

// Leave is that this node stops. What Step answers to it are the last effects.
type Leave struct{}

func (Tick) event()      {}
func (Metered) event()   {}
func (TablePut) event()  {}
func (HAProxy) event()   {}
func (Gateway) event()   {}
func (Heard) event()     {}
func (Announced) event() {}
func (Connected) event() {}
func (Unfed) event()     {}
func (ClockSet) event()  {}
func (PlanTook) event()  {}
func (Leave) event()     {}

// Effects is what is to be done now. What it points to is not changed any more,
// by nobody.
type Effects struct {
	ReadMeter bool // read the SPOA's meter, and answer with Metered
	// Table, unless nil, is for the SPOA; to be answered with TablePut. There is
	// no other before that.
	Table *table.Table
	// Servers, unless nil, is which servers of peers HAProxy should have from now
	// on.
	Servers []Peer
	// Announce, unless nil, is for all members that feeds reach, and with Everybody for
	// the others, too; to be answered with Announced.
	Announce  *wire.Announcement
	Everybody bool
	// Planned is that a plan was made.
	Planned bool
	Logs    []Log
}

// Peer is a server that HAProxy should have.
type Peer struct {
	ID      peerid.ID
	Address netip.AddrPort
}

// Level is how much a line of the log matters.
type Level int

const (
	Debug Level = iota
	Info
	Warn
	Error
)

// String returns the level's name.
func (l Level) String() string { return [...]string{"debug", "info", "warn", "error"}[l] }

// Log is a line for the log.
type Log struct {
	Level   Level
	Message string
	Fields  []Field
}

// Field is one of a line's values.
type Field struct {
	Key   string
	Value any // string, peerid.ID, []string, bool, int, error, time.Duration or netip.AddrPort
}
