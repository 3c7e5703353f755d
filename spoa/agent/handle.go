package agent

import (
	"fmt"
	"time"

	"github.com/negasus/haproxy-spoe-go/action"
	"github.com/negasus/haproxy-spoe-go/payload/kv"
	"github.com/negasus/haproxy-spoe-go/request"

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

	argProven = "proven" // absent: null

	argNodes, argTokens = "nodes", "tokens" // how many there are of these headers

	argHeard = "heard" // of the latest answer of a peer, see heard.go; absent: null

	varAction  = "action" // unset: nobody knows, serve it here
	varTarget  = "target"
	varToken   = "token"
	varStatus  = "status"
	varTimeout = "timeout" // ms
	varMark    = "mark"    // of what is forwarded
	varRoom    = "room"    // for a peer: calls, or full
)

// handle answers one frame. It runs in a goroutine of the library's, which does
// not recover.
func (a *Agent) handle(req *request.Request) {
	defer func() {
		if p := recover(); p != nil {
			req.Actions.Reset() // nothing set: serve it here
			a.recovered(p)
		}
	}()
	m, err := req.Messages.GetByName(messageRoute)
	if err != nil {
		return // none of ours
	}
	args := m.KV.Data()
	question, ok := readQuestion(args)
	if !ok {
		return
	}
	now := time.Now()
	if h, ok := readHeard(args); ok {
		a.router.Heard(now, h.mark, h.room, h.refused)
	}
	d := a.router.Route(now, question)
	if d.Reason != 0 {
		a.logForbidden(question, d, args)
	}
	setVariables(&req.Actions, d)
	a.time(now)
}

// readQuestion picks the arguments. It reports false if there is no path.
func readQuestion(args []kv.Item) (route.Request, bool) {
	var q route.Request
	found := false
	for i := range args {
		text, isText := args[i].Value.(string)
		switch args[i].Name {
		case argPath:
			q.Path, found = text, isText
		case argNode:
			q.Node, q.Claimed = text, args[i].Value != nil
		case argToken:
			q.Token = text
		case argProven:
			q.Proven = text
		case argNodes, argTokens:
			n, isNumber := args[i].Value.(int64)
			q.Ambiguous = q.Ambiguous || isNumber && n > 1
		}
	}
	return q, found
}

// setVariables sets only what HAProxy needs, and only strings and small positive
// numbers, since the library cannot encode others safely. Nothing is set if no
// table says what to do: it is the same as if nobody answered.
func setVariables(vars *action.Actions, d route.Decision) {
	set := func(name string, value any) { vars.SetVar(action.ScopeTransaction, name, value) }
	if !d.Open {
		set(varAction, d.Action.String())
	}
	if d.Action == route.Peer {
		set(varTarget, d.Target)
		set(varToken, d.Token)
		if d.Mark > 0 {
			set(varMark, d.Mark)
		}
	}
	if d.TellRoom {
		set(varRoom, roomText(d))
	}
	if d.Status > 0 {
		set(varStatus, d.Status)
	}
	if d.TimeoutMillis > 0 && d.Action != route.Deny {
		set(varTimeout, d.TimeoutMillis)
	}
}

func (a *Agent) logForbidden(q route.Request, d route.Decision, args []kv.Item) {
	event := a.noise.Info()
	if !event.Enabled() {
		return
	}
	for i := range args {
		if args[i].Name == argSrc && args[i].Value != nil {
			event = event.Str("src", fmt.Sprintf("%.45s", fmt.Sprint(args[i].Value)))
		}
	}
	const longest = 64 // of a claimed id in the log, in bytes
	event.Str("claimed", q.Node[:min(len(q.Node), longest)]).Stringer("reason", d.Reason).Msg("claim to be a peer refused")
}
