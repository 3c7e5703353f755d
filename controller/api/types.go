// Package api is the controller's admin interface: HTTP with JSON over a unix
// socket, read by dfaasctl and the emulator.
package api

// Status is the answer to GET /v1/status.
type Status struct {
	NodeID       string   `json:"node_id"`
	NodeName     string   `json:"node_name,omitempty"`
	Version      string   `json:"version"`
	Federation   string   `json:"federation"`
	Strategy     string   `json:"strategy"`
	PeriodMillis int64    `json:"period_ms"`
	UptimeMillis int64    `json:"uptime_ms"`
	HTTPAddress  string   `json:"http_address"` // IP:PORT announced to peers
	Addresses    []string `json:"addresses"`    // multiaddrs with /p2p/ID, to give to dfaasctl join
	Peers        int      `json:"peers"`        // alive
	Functions    int      `json:"functions"`    // deployed here
	// Async is that this node's gateway takes asynchronous calls.
	Async        bool   `json:"async,omitempty"`
	TableVersion uint64 `json:"table_version"`
	// FastPath is how HAProxy serves calls without asking dfaas-spoa; nil if it does not.
	FastPath *FastPath `json:"fast_path,omitempty"`
	// Components tells how each part this controller talks to is doing.
	Components []Component `json:"components"`
	// RefusedBy are the peers that refuse what this node announces, each with its
	// reason. It is what they say.
	RefusedBy []Refusal `json:"refused_by,omitempty"`
	// Warnings are limits that are nearly reached, or reached.
	Warnings []string `json:"warnings,omitempty"`
}

// FastPath is what HAProxy may serve without asking dfaas-spoa.
type FastPath struct {
	// Functions is how many have been granted calls in the last round. Those that nobody
	// calls are granted none.
	Functions int    `json:"functions"`
	Error     string `json:"error,omitempty"` // why all is asked about
}

// Refusal is a peer's word that it refuses this node's announcements.
type Refusal struct {
	Peer   string `json:"peer"`
	Reason string `json:"reason"`
}

// Component is one part as seen by the controller: spoa, haproxy, gateway, overlay.
type Component struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
	Since int64  `json:"since_ms"` // Unix ms of the last change of OK
}

// Peer is one row of GET /v1/peers.
type Peer struct {
	ID string `json:"id"`
	// Name is what it calls itself: for people, proven by nothing.
	Name string `json:"name,omitempty"`
	// State is alive, expired, connected (no announcement yet), refused, or newer: it
	// speaks a protocol that this node does not understand.
	State string `json:"state"`
	// Protocol is the version of gossip that it speaks; 0: not known.
	Protocol int    `json:"protocol,omitempty"`
	Async    bool   `json:"async,omitempty"` // its gateway takes asynchronous calls
	HTTP     string `json:"http,omitempty"`
	Strategy string `json:"strategy,omitempty"`
	// AgeMillis is the time since its last announcement; -1: none.
	AgeMillis int64 `json:"age_ms"`
	RTTMicros int64 `json:"rtt_us,omitempty"`
	// ClockSkewMillis is the peer's clock minus ours when its last announcement
	// arrived (its Announcement.SentAtMillis minus our Unix time in ms): positive
	// when its clock is ahead. The way of the message counts as being behind, so
	// some ms below 0 are normal. Of no meaning while AgeMillis is -1.
	ClockSkewMillis int64    `json:"clock_skew_ms"`
	Functions       []string `json:"functions,omitempty"`
	// Server is the state HAProxy gives the peer's server: up, down, drain, maint, none.
	Server string `json:"server,omitempty"`
	// Apart is that no calls are exchanged with the peer: it is not in neighbours.
	Apart  bool   `json:"apart,omitempty"`
	Reason string `json:"reason,omitempty"` // why refused, or apart
}

// Function is one row of GET /v1/functions.
type Function struct {
	Name     string  `json:"name"`
	Local    bool    `json:"local"`
	State    string  `json:"state,omitempty"` // here: ready, or why peers come first: idle, failing, trial
	Capacity float64 `json:"capacity"`        // requests/s; -1 unlimited
	UserRate float64 `json:"user_rate"`       // requests/s, smoothed
	InRate   float64 `json:"in_rate"`         // requests/s served for peers
	OutRate  float64 `json:"out_rate"`        // requests/s sent to peers
	Refused  float64 `json:"refused"`         // requests/s answered 429 or 503
	Peers    int     `json:"peers"`           // that have it
	Warning  string  `json:"warning,omitempty"`
}

// Route is one row of GET /v1/routes: where user requests of a function may go
// and what is admitted from peers.
type Route struct {
	Function string  `json:"function"`
	Kind     string  `json:"kind"` // local, out, in
	Peer     string  `json:"peer,omitempty"`
	PeerName string  `json:"peer_name,omitempty"` // as Peer.Name
	Weight   float64 `json:"weight"`              // local: the part of users' calls tried here first; out: the peer's part of what is sent
	Rate     float64 `json:"rate"`                // planned limit, requests/s; -1 unlimited
	Measured float64 `json:"measured"`            // over the last period, requests/s
}
