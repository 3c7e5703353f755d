package simulator

import "time"

// weighted is what the strategies of the original DFaaS have in common that set
// weights in HAProxy: once in a period, a node learns what the others measured in
// theirs, and sets how its users' calls of each function are spread, itself included.
// Calls then follow the weights and nobody looks whether there is room: what a machine
// cannot serve fails, users' calls no less than peers'.
type weighted struct {
	passive
	rule     func(own *usage, fn int, weights []float64)
	period   time.Duration
	plans    time.Duration // when the next period ends
	peers    [][]int       // by function
	weights  [][]float64   // by function: this node's, then those of its peers
	users    []float64     // calls of this period, by function
	received []float64
	measured usage // in the last period
}

// usage is what a node has measured in a period, and all others are told.
type usage struct {
	users []float64 // requests/s of its own users, by function
	peers []float64 // requests/s that other nodes sent, by function
	rates []float64 // requests/s that were to be served here, both together, by function
	cpu   float64   // of the node, 1 is all of it; above 1 if more was asked for
}

// Of what is known of a simulated machine: what it needs when it is idle and how much
// more at full load, as fractions of what it has.
const (
	idleRAM, loadRAM     = 0.2, 0.6
	idlePower, loadPower = 0.4, 0.6
)

func (u *usage) ram() float64   { return idleRAM + loadRAM*u.cpu }
func (u *usage) power() float64 { return idlePower + loadPower*u.cpu }

// metricBytes is an announcement's for one function: about eight numbers and its name.
const metricBytes = 120

func newWeighted(w *world, self int) weighted {
	period := w.specs[self].period
	r := weighted{
		passive: newPassive(w, self), period: period,
		plans:    period + time.Duration(float64(period)*float64(self)/float64(len(w.capacity))),
		users:    make([]float64, len(w.names)),
		received: make([]float64, len(w.names)),
		measured: usage{users: make([]float64, len(w.names)), peers: make([]float64, len(w.names)), rates: make([]float64, len(w.names))},
	}
	for f := range w.names {
		r.peers = append(r.peers, r.having(f))
		weights := make([]float64, 1+len(r.peers[f]))
		if w.capacity[self][f] > 0 {
			weights[0] = 1
		} else {
			for i := range r.peers[f] {
				weights[1+i] = 1
			}
		}
		r.weights = append(r.weights, weights)
	}
	return r
}

func (r *weighted) user(now time.Duration, fn int) decision {
	r.users[fn]++
	sum := 0.0
	for _, x := range r.weights[fn] {
		sum += x
	}
	mark := r.random.Float64() * sum
	for i, x := range r.weights[fn] {
		if mark -= x; mark >= 0 || x == 0 {
			continue
		}
		if i > 0 {
			return decision{verdict: forward, peer: r.peers[fn][i-1]}
		}
		break
	}
	if r.world.capacity[r.self][fn] == 0 || !r.all[fn].take(now) {
		return decision{}
	}
	return decision{verdict: serve}
}

func (r *weighted) peer(now time.Duration, fn, _ int) (bool, int) {
	r.received[fn]++
	return r.all[fn].take(now), untold
}

func (r *weighted) due() time.Duration { return r.plans }

func (r *weighted) wake(now time.Duration) {
	if now < r.plans {
		return
	}
	r.plans += r.period
	r.measure()
	if now >= r.world.tally.from {
		r.world.neighbours(r.self, func(int) { r.world.tally.gossip += uint64(gossipOverhead + metricBytes*len(r.world.names)) })
	}
	for f := range r.weights {
		if len(r.peers[f]) == 0 {
			continue
		}
		clear(r.weights[f])
		if r.world.capacity[r.self][f] > 0 {
			r.weights[f][0] = 1
		}
	}
	for f := range r.weights {
		if len(r.peers[f]) > 0 {
			r.rule(&r.measured, f, r.weights[f])
		}
	}
}

// measure ends the period.
func (r *weighted) measure() {
	for f := range r.users {
		r.measured.users[f] = r.users[f] / seconds(r.period)
		here := r.weights[f][0]
		sum := 0.0
		for _, x := range r.weights[f] {
			sum += x
		}
		r.measured.peers[f] = r.received[f] / seconds(r.period)
		r.measured.rates[f] = r.measured.users[f]*here/max(sum, 1e-9) + r.measured.peers[f]
		r.users[f], r.received[f] = 0, 0
	}
	r.measured.cpu = r.world.cpu(r.self, r.measured.rates)
}

// cpu is what rates of requests/s, by function, make of a node's CPUs: of a machine
// with CPUs that they have to share, or of one of which nothing is known but how many
// requests of each function it can serve, as much as the one that it has most of.
func (w *world) cpu(n int, rates []float64) float64 {
	used := 0.0
	for f, rate := range rates {
		switch {
		case w.machine[n] != nil:
			used += rate * seconds(w.service[n][f]) / w.config.Instance.Nodes[n].CPUs
		case w.capacity[n][f] > 0:
			used = max(used, rate/w.capacity[n][f])
		}
	}
	return used
}

// measuredAt is what another node that has the same strategy has measured, nil if it
// has another one.
func (r *weighted) measuredAt(n int) *usage {
	switch other := r.world.nodes[n].(type) {
	case *empirical:
		return &other.measured
	case *nodeMargin:
		return &other.measured
	}
	return nil
}

// empirical sends surplus to peers by a score: the sum of what is normalised over the
// peers of service count and margin, and of the inverse of invocation rate over max
// rate, mean execution time, and RAM and CPU of node and function. With probability
// 0.6 a weight is perturbed by up to 40 %.
type empirical struct{ weighted }

const (
	perturbed    = 0.6
	perturbation = 0.4
)

func newEmpirical(w *world, self int) *empirical {
	e := &empirical{newWeighted(w, self)}
	e.rule = e.weigh
	return e
}

func (e *empirical) weigh(own *usage, fn int, weights []float64) {
	capacity := e.world.capacity[e.self][fn]
	if own.users[fn] <= capacity {
		return
	}
	weights[0] = capacity / own.users[fn]
	scores := e.scores(fn)
	sum := 0.0
	for _, s := range scores {
		sum += s
	}
	for i, s := range scores {
		weights[1+i] = (1 - weights[0]) * s / max(sum, 1e-9)
	}
}

// scores are those of the peers having a function.
func (e *empirical) scores(fn int) []float64 {
	w, peers := e.world, e.peers[fn]
	scores := make([]float64, len(peers))
	add := func(inverse bool, of func(n int, u *usage) float64) {
		values, sum := make([]float64, len(peers)), 0.0
		for i, n := range peers {
			u := e.measuredAt(n)
			if u == nil {
				continue
			}
			values[i] = of(n, u)
			if inverse {
				values[i] = 1 / max(values[i], 0.01)
			}
			sum += values[i]
		}
		for i := range values {
			scores[i] += values[i] / max(sum, 1e-9)
		}
	}
	functionCPU := func(n int, u *usage) float64 { return u.rates[fn] / w.capacity[n][fn] }
	add(false, func(int, *usage) float64 { return 1 }) // one service each
	add(false, func(n int, u *usage) float64 { return max(0, w.capacity[n][fn]-u.rates[fn]) })
	add(true, functionCPU) // invocation rate over max rate
	add(true, func(n int, u *usage) float64 { return seconds(w.service[n][fn]) / max(0.05, 1-u.cpu) })
	add(true, func(_ int, u *usage) float64 { return u.ram() })
	add(true, func(_ int, u *usage) float64 { return u.cpu })
	add(true, func(n int, u *usage) float64 { return loadRAM * functionCPU(n, u) })
	add(true, functionCPU)
	for i := range scores {
		if e.random.Float64() < perturbed {
			scores[i] *= 1 + perturbation*(2*e.random.Float64()-1)
		}
	}
	return scores
}

// nodeMargin forecasts a node's CPU, RAM and power from the rates of the last period.
// While one is above its threshold, it moves calls to peers, 1 % of a function's at a
// time, as far as the margins of the peers allow: each node's is what is left of it to
// 100 %, divided by the peers with which it shares a function.
type nodeMargin struct {
	weighted
	margins map[int]float64 // of peers, as fractions, of this period
}

// Thresholds of the forecast, as fractions of what the node has.
const (
	thresholdCPU, thresholdRAM, thresholdPower = 0.90, 0.90, 0.95

	marginStep = 0.01
)

func newNodeMargin(w *world, self int) *nodeMargin {
	m := &nodeMargin{weighted: newWeighted(w, self)}
	m.rule = m.move
	return m
}

func (m *nodeMargin) wake(now time.Duration) {
	m.margins = make(map[int]float64)
	for _, peers := range m.peers {
		for _, n := range peers {
			if u := m.measuredAt(n); u != nil {
				m.margins[n] = max(0, 1-max(u.cpu, u.ram(), u.power())) / float64(m.sharing(n))
			}
		}
	}
	m.weighted.wake(now)
}

// sharing counts the nodes that have a function in common with a peer.
func (m *nodeMargin) sharing(peer int) int {
	count := 0
	m.world.neighbours(peer, func(n int) {
		for f, c := range m.world.capacity[n] {
			if c > 0 && m.world.capacity[peer][f] > 0 {
				count++
				break
			}
		}
	})
	return max(1, count)
}

// over reports whether the forecast is above a threshold.
func (m *nodeMargin) over(rates []float64) bool {
	u := usage{cpu: m.world.cpu(m.self, rates)}
	return u.cpu > thresholdCPU || u.ram() > thresholdRAM || u.power() > thresholdPower
}

func (m *nodeMargin) move(own *usage, fn int, weights []float64) {
	if weights[0] == 0 { // not here: evenly
		for i := range m.peers[fn] {
			weights[1+i] = 1
		}
		return
	}
	// What is not moved comes here, and what peers send keeps coming.
	rates := make([]float64, len(own.rates))
	for f := range rates {
		rates[f] = own.users[f]*m.weights[f][0] + own.peers[f]
	}
	step, turn := marginStep*own.users[fn], 0
	for weights[0] >= marginStep && m.over(rates) {
		i := m.willing(fn, turn, step)
		if i < 0 {
			return
		}
		m.margins[m.peers[fn][i]] -= step / m.world.capacity[m.peers[fn][i]][fn]
		weights[1+i] += marginStep
		weights[0] -= marginStep
		rates[fn] -= step
		turn = i + 1
	}
}

// willing is the next peer in turn whose margin allows so many requests/s more of a
// function, -1 if there is none.
func (m *nodeMargin) willing(fn, turn int, step float64) int {
	for k := range m.peers[fn] {
		i := (turn + k) % len(m.peers[fn])
		if n := m.peers[fn][i]; m.margins[n] >= step/m.world.capacity[n][fn] {
			return i
		}
	}
	return -1
}
