package strategy

// quotas is the fill of headroom with its rates as limits: nothing is sent and
// nothing admitted beyond what was announced. It is what headroom was first, and
// shows what going by answers is worth.
type quotas struct{}

func (quotas) Name() string { return "quotas" }

func (quotas) Demand() Demand { return DemandNow }

func (q quotas) Plan(o Observation) Plan { return plan(o, q.rule(o.Peers)) }

func (quotas) rule(alive []Peer) rule { return fillRule(alive, false) }
