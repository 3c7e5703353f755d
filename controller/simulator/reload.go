package simulator

import "time"

// haproxyPoll is how long it takes at most until a controller sees that HAProxy was
// reloaded and has no servers of peers any more, and puts them back.
const haproxyPoll = 400 * time.Millisecond

// reload has another process of HAProxy take over, while the one before ends what it is
// at: no call is lost, but calls for peers are served here until these have servers again.
func (w *world) reload(n int) {
	if w.without(n, haproxyPart) {
		return
	}
	w.afflictions.reloaded[n] = true
	w.queue.push(event{at: w.now + haproxyPoll, kind: restores, a: int32(n)})
}

// serverless reports whether HAProxy at a node has no servers of peers.
func (w *world) serverless(n int) bool { return w.afflictions != nil && w.afflictions.reloaded[n] }

// restoreServers is the controller's look at a HAProxy that was reloaded, or the next one
// if there is no controller now.
func (w *world) restoreServers(n int) {
	if w.silent(n, controllerPart|haproxyPart) {
		w.queue.push(event{at: w.now + haproxyPoll, kind: restores, a: int32(n)})
		return
	}
	w.afflictions.reloaded[n] = false
	if r, ok := w.nodes[n].(restartable); ok {
		r.checked(w.now)
		w.schedule(n)
	}
}
