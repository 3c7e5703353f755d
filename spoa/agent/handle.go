package agent

import (
	"hash/maphash"
	"net/netip"
	"time"

	"github.com/dfaas/dfaas/spoa/route"
)

// Names of the contract with dfaas-spoe.conf: the message, its arguments, and
// the variables that are set in answer, which HAProxy knows as txn.dfaas.NAME.
const (
	messageRoute = "route"

	argPath  = "path"
	argNode  = "node"  // absent: null
	argToken = "token" // absent: null
	argSrc   = "src"   // optional, for the log

	argSource = "source" // address of the user; absent: null

	argProven = "proven" // absent: null

	argNodes, argTokens = "nodes", "tokens" // how many there are of these headers

	argHeard   = "heard"   // of the latest answer of a peer, or of the gateway, see heard.go; absent: null
	argGateway = "gateway" // whether this node's takes calls; absent: it does
	argAgain   = "again"   // of a call that comes back, see again.go; absent: null

	varAction  = "action" // unset: nobody knows, serve it here
	varTarget  = "target"
	varToken   = "token"
	varStatus  = "status"
	varTimeout = "timeout" // ms
	varMark    = "mark"    // of what is forwarded
	varRoom    = "room"    // for a peer: calls, or full
)

// question is what HAProxy asks, as far as it is understood. Its texts lie in the
// frame that it came in.
type question struct {
	route.Request
	asked   bool // there is a path: something to decide
	src     netip.Addr
	source  netip.Addr // of the user
	heard   heard
	isHeard bool
}

// answer appends the answer to a question, the part of its frame after the flags. It
// fails if that is malformed. What is none of ours is answered, so that HAProxy does
// not wait, and nothing is set.
func (a *Agent) answer(out []byte, payload cursor) ([]byte, error) {
	stream, err := payload.number()
	if err != nil {
		return nil, err
	}
	id, err := payload.number()
	if err != nil {
		return nil, err
	}
	var q question
	for len(payload) > 0 {
		m, err := payload.message()
		if err != nil {
			return nil, err
		}
		ours := m.name == messageRoute && !q.asked
		for range m.args {
			name, v, err := payload.arg()
			if err != nil {
				return nil, err
			}
			if ours {
				q.set(name, &v)
			}
		}
	}
	ack := newAck(out, stream, id)
	if q.asked {
		setVariables(&ack, a.decide(&q))
	}
	return ack.end(), nil
}

// decide answers a question. A panic in it is a fault of this program: nothing is
// set then, and the request is served here.
func (a *Agent) decide(q *question) (d route.Decision) {
	defer func() {
		if p := recover(); p != nil {
			d = route.Decision{Open: true}
			a.recovered(p)
		}
	}()
	now := time.Now()
	switch {
	case !q.isHeard:
	case q.heard.found != "":
		a.router.Found(now, q.heard.found, q.heard.number)
	default:
		a.router.Heard(now, q.heard.mark, q.heard.room, q.heard.refused)
	}
	q.Source = a.sourceOf(q.source)
	d = a.router.Route(now, q.Request)
	if d.Reason != 0 {
		a.logForbidden(q, d)
	}
	a.time(now)
	return d
}

// set takes in an argument.
func (q *question) set(name string, v *value) {
	switch name {
	case argPath:
		q.Path, q.asked = v.text, v.isText()
	case argNode:
		q.Node, q.Claimed = v.text, !v.isNull()
	case argToken:
		q.Token = v.text
	case argProven:
		q.Proven = v.text
	case argNodes, argTokens:
		q.Ambiguous = q.Ambiguous || v.number > 1
	case argHeard:
		q.heard, q.isHeard = parseHeard(v.text)
	case argSrc:
		q.src = v.addr
	case argSource:
		q.source = v.addr
	case argGateway:
		q.GatewayDown = v.isFalse()
	case argAgain:
		q.Question, q.Mark = parseAgain(v.text)
	}
}

// sourceOf returns a number that stands for a user's address, with IPv6 for its
// network of 64 bits, which is what one user has; 0 if there is none. Nobody can
// choose addresses that have the same.
func (a *Agent) sourceOf(user netip.Addr) uint64 {
	if !user.IsValid() {
		return 0
	}
	user = user.Unmap()
	bytes, known := user.As16(), 16
	if user.Is6() {
		known = 8
	}
	return max(1, maphash.Bytes(a.seed, bytes[:known]))
}

// setVariables sets only what HAProxy needs. Nothing is set if no table says what to
// do: it is the same as if nobody answered.
func setVariables(vars *ackFrame, d route.Decision) {
	if !d.Open {
		vars.setText(varAction, d.Action.String())
	}
	if d.Action == route.Peer {
		vars.setText(varTarget, d.Target.String())
		vars.setText(varToken, d.Token)
		if d.Mark > 0 {
			vars.setNumber(varMark, d.Mark)
		}
	}
	if d.TellRoom {
		vars.setText(varRoom, roomText(d))
	}
	if d.Status > 0 {
		vars.setNumber(varStatus, d.Status)
	}
	if d.TimeoutMillis > 0 && d.Action != route.Deny {
		vars.setNumber(varTimeout, d.TimeoutMillis)
	}
}

func (a *Agent) logForbidden(q *question, d route.Decision) {
	event := a.noise.Info()
	if !event.Enabled() {
		return
	}
	if q.src.IsValid() {
		event = event.Stringer("src", q.src)
	}
	const longest = 64 // of a claimed id in the log, in bytes
	event.Str("claimed", q.Node[:min(len(q.Node), longest)]).Stringer("reason", d.Reason).Msg("claim to be a peer refused")
}
