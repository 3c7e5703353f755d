// Package control is how the SPOA is told what to do and tells what it did:
// HTTP with JSON over a unix socket, and the client for it.
//
//	PUT /v1/table    replace the table: 204, or 400 with the reason
//	PATCH /v1/table  change the table whose ETag If-Match has: 204, 400 with the reason,
//	                 or 412 if the current table is another one
//	GET /v1/table    the current table without tokens, null if there is none
//	GET /v1/meter    counters, see meter.Report
//	POST /v1/unasked what HAProxy has served unasked, and may, see package grant
//	GET /v1/health   see Health
//	GET /metrics     the same for Prometheus
package control

import (
	"encoding/json"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/internal/protocol"
	"github.com/dfaas/dfaas/spoa/route"
	"github.com/dfaas/dfaas/spoa/series"
	"github.com/dfaas/dfaas/spoa/table"
)

const (
	pathTable   = "/v1/table"
	pathMeter   = "/v1/meter"
	pathHealth  = "/v1/health"
	pathMetrics = "/metrics"
)

// Health is the answer to GET /v1/health.
type Health struct {
	Version      string `json:"version"`   // of the program
	StartMillis  int64  `json:"start_ms"`  // Unix time in ms; identifies the run
	UptimeMillis int64  `json:"uptime_ms"` // since the start
	// TableVersion is 0 while there is no table. Fresh reports whether there is one
	// within its time to live; without, every request is served locally.
	TableVersion uint64 `json:"table_version"`
	Fresh        bool   `json:"fresh"`
	// ExpiresMillis is how long the table remains fresh; below 0 since it was.
	ExpiresMillis int64 `json:"expires_ms"`
	// TablesRefused counts tables that were not accepted.
	TablesRefused uint64 `json:"tables_refused"`
	// TablesNewer counts tables with fields that this SPOA does not know.
	TablesNewer uint64 `json:"tables_newer"`
	// TableOldest and TableNewest are the versions of tables that it understands.
	TableOldest int   `json:"table_oldest"`
	TableNewest int   `json:"table_newest"`
	Connections int64 `json:"connections"` // from HAProxy, open now
}

// Server answers on the control socket.
type Server struct {
	router  *route.Router
	log     zerolog.Logger
	version string
	start   time.Time
	agent   AgentStats
	series  *series.Series
	whole   atomic.Uint64 // tables that came whole
	patched atomic.Uint64 // tables that came as a patch
	stale   atomic.Uint64 // patches of another table than the current one
	refused atomic.Uint64
	newer   atomic.Uint64          // tables with fields that were ignored
	unknown atomic.Pointer[string] // the field logged last
}

// AgentStats are the counters of the SPOP side.
type AgentStats interface {
	Connections() int64         // open now
	ConnectionsRefused() uint64 // over the bound
	FramesRefused() uint64      // that no HAProxy sends
	Panics() uint64             // recovered from, each the end of one decision
	DecisionTime() prometheus.Histogram
}

// NewServer returns a server of that program version; start is the meter's.
func NewServer(router *route.Router, agent AgentStats, version string, start time.Time, log zerolog.Logger) *Server {
	return &Server{router: router, agent: agent, series: series.New(prefix), version: version, start: start, log: log}
}

// Handler serves all paths of the control socket.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT "+pathTable, s.putTable)
	if !protocol.Previous {
		mux.HandleFunc("PATCH "+pathTable, s.patchTable)
		mux.HandleFunc("POST "+pathUnasked, s.postUnasked)
	}
	mux.HandleFunc("GET "+pathTable, s.getTable)
	mux.HandleFunc("GET "+pathMeter, s.getMeter)
	mux.HandleFunc("GET "+pathHealth, s.getHealth)
	mux.Handle("GET "+pathMetrics, s.Metrics())
	return mux
}

// noteUnknown counts tables with fields that were ignored, and says so once for
// each field in a row: tables come every few seconds.
func (s *Server) noteUnknown(field string) {
	if field == "" {
		return
	}
	s.newer.Add(1)
	if last := s.unknown.Swap(&field); last == nil || *last != field {
		s.log.Info().Str("field", field).Msg("dfaas-controller is newer: what this dfaas-spoa does not know is ignored")
	}
}

func (s *Server) getTable(w http.ResponseWriter, _ *http.Request) {
	st := s.router.Status(time.Now())
	s.setTag(w, st.Generation)
	answer(w, redacted(st.Table))
}

// redacted returns a copy of the table without the tokens, which would let the
// reader pose as this node.
func redacted(t *table.Table) *table.Table {
	if t == nil {
		return nil
	}
	c := *t
	c.Peers = make([]table.Peer, len(t.Peers))
	for i, p := range t.Peers {
		if p.Token != "" {
			p.Token = "redacted"
		}
		c.Peers[i] = p
	}
	return &c
}

func (s *Server) getMeter(w http.ResponseWriter, _ *http.Request) {
	report := s.router.Report(time.Now())
	report.TableOldest, report.TableNewest = table.Oldest, table.Newest()
	answer(w, report)
}

func (s *Server) getHealth(w http.ResponseWriter, _ *http.Request) {
	now := time.Now()
	h := Health{
		Version:       s.version,
		StartMillis:   s.start.UnixMilli(),
		UptimeMillis:  now.Sub(s.start).Milliseconds(),
		TablesRefused: s.refused.Load(),
		TablesNewer:   s.newer.Load(),
		TableOldest:   table.Oldest,
		TableNewest:   table.Newest(),
		Connections:   s.agent.Connections(),
	}
	if st := s.router.Status(now); st.Table != nil {
		h.TableVersion, h.Fresh, h.ExpiresMillis = st.Table.Version, st.Fresh, st.Expires.Milliseconds()
	}
	answer(w, h)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // fails only if the reader is gone
}
