package table

import (
	"fmt"
	"math"
	"strings"

	"github.com/dfaas/dfaas/spoa/peerid"
)

// More bounds of a table.
const (
	MaxWeight        = 1e9
	MaxTimeoutMillis = 3_600_000
	maxLabelLen      = 63 // of a DNS label, RFC 1035
)

// Validate reports the first thing that is wrong with the table, naming the
// function or peer and the field.
func (t *Table) Validate() error {
	if err := t.validateHead(); err != nil {
		return fmt.Errorf("table: %w", err)
	}
	peers, err := t.validatePeers()
	if err != nil {
		return err
	}
	return t.validateFunctions(peers)
}

func (t *Table) validateHead() error {
	switch {
	case t.Version == 0:
		return fmt.Errorf("version: must be at least 1")
	case t.TTLMillis < 1 || t.TTLMillis > MaxTTL.Milliseconds():
		return fmt.Errorf("ttl_ms: %d is not within 1 and %d", t.TTLMillis, MaxTTL.Milliseconds())
	case t.ClockOffsetMillis > MaxClockOffset.Milliseconds() || t.ClockOffsetMillis < -MaxClockOffset.Milliseconds():
		return fmt.Errorf("clock_offset_ms: %d is not within %d of 0", t.ClockOffsetMillis, MaxClockOffset.Milliseconds())
	case t.DefaultNamespace != "" && !isLabel(t.DefaultNamespace):
		return fmt.Errorf("default_namespace: %.80q is not a lower-case DNS label", t.DefaultNamespace)
	case len(t.Functions) > MaxFunctions:
		return fmt.Errorf("functions: %d of them, at most %d are accepted", len(t.Functions), MaxFunctions)
	case len(t.Peers) > MaxPeers:
		return fmt.Errorf("peers: %d of them, at most %d are accepted", len(t.Peers), MaxPeers)
	}
	if _, err := peerid.Parse(t.NodeID); err != nil {
		return fmt.Errorf("node_id: %w", err)
	}
	return nil
}

// validatePeers returns the ids of all peers.
func (t *Table) validatePeers() (map[string]bool, error) {
	peers := make(map[string]bool, len(t.Peers))
	inbound := 0
	for i := range t.Peers {
		p := &t.Peers[i]
		if _, err := peerid.Parse(p.ID); err != nil {
			return nil, fmt.Errorf("peer number %d: id: %w", i+1, err)
		}
		if peers[p.ID] {
			return nil, fmt.Errorf("peer %s: id: listed twice", p.ID)
		}
		if p.ID == t.NodeID {
			return nil, fmt.Errorf("peer %s: id: is this node itself", p.ID)
		}
		peers[p.ID] = true
		if err := p.validate(t.DefaultNamespace); err != nil {
			return nil, fmt.Errorf("peer %s: %w", p.ID, err)
		}
		if inbound += len(p.Inbound); inbound > MaxForwards {
			return nil, fmt.Errorf("peer %s: inbound: over %d entries in the table", p.ID, MaxForwards)
		}
	}
	return peers, nil
}

func (p *Peer) validate(defaultNamespace string) error {
	if len(p.Token) > MaxTokenLen {
		return fmt.Errorf("token: %d bytes long, at most %d are accepted", len(p.Token), MaxTokenLen)
	}
	if strings.ContainsFunc(p.Token, notOfToken) {
		return fmt.Errorf("token: has characters that no JWT has")
	}
	for name, rate := range p.Inbound {
		if !ValidName(name) {
			return fmt.Errorf("inbound: %.80q is not a function name", name)
		}
		if inNamespace(name, defaultNamespace) {
			return fmt.Errorf("inbound: %s: functions of the default namespace are named without it", name)
		}
		if err := validRate(rate); err != nil {
			return fmt.Errorf("inbound: %s: %w", name, err)
		}
	}
	return nil
}

func (t *Table) validateFunctions(peers map[string]bool) error {
	names := make(map[string]bool, len(t.Functions))
	forwards := 0
	for i := range t.Functions {
		f := &t.Functions[i]
		if !ValidName(f.Name) {
			return fmt.Errorf("function number %d: name: %.80q is not NAME or NAME.NAMESPACE in lower-case DNS labels", i+1, f.Name)
		}
		if inNamespace(f.Name, t.DefaultNamespace) {
			return fmt.Errorf("function %s: name: functions of the default namespace are named without it", f.Name)
		}
		if names[f.Name] {
			return fmt.Errorf("function %s: name: listed twice", f.Name)
		}
		names[f.Name] = true
		if err := f.validate(peers); err != nil {
			return fmt.Errorf("function %s: %w", f.Name, err)
		}
		if forwards += len(f.Forward); forwards > MaxForwards {
			return fmt.Errorf("function %s: forward: over %d entries in the table", f.Name, MaxForwards)
		}
	}
	return nil
}

func (f *Function) validate(peers map[string]bool) error {
	if f.Local != nil {
		if err := f.Local.validate(); err != nil {
			return fmt.Errorf("local: %w", err)
		}
	}
	listed := make(map[string]bool, len(f.Forward))
	for i := range f.Forward {
		fw := &f.Forward[i]
		if !peers[fw.Peer] {
			return fmt.Errorf("forward: peer: %.80q is not one of the table's peers", fw.Peer)
		}
		if listed[fw.Peer] {
			return fmt.Errorf("forward: %s: peer: listed twice", fw.Peer)
		}
		listed[fw.Peer] = true
		if !(fw.Weight >= 0 && fw.Weight <= MaxWeight) {
			return fmt.Errorf("forward: %s: weight: %v is not within 0 and %v", fw.Peer, fw.Weight, float64(MaxWeight))
		}
		if err := validRate(fw.Rate); err != nil {
			return fmt.Errorf("forward: %s: rate: %w", fw.Peer, err)
		}
		if err := validTimeout(fw.TimeoutMillis); err != nil {
			return fmt.Errorf("forward: %s: timeout_ms: %w", fw.Peer, err)
		}
	}
	return nil
}

func (l *Local) validate() error {
	if err := validRate(l.Rate); err != nil {
		return fmt.Errorf("rate: %w", err)
	}
	if !(l.Share >= 0 && l.Share <= 1) {
		return fmt.Errorf("share: %v is not within 0 and 1", l.Share)
	}
	if err := validTimeout(l.TimeoutMillis); err != nil {
		return fmt.Errorf("timeout_ms: %w", err)
	}
	return nil
}

// ValidName reports whether name is a function's name as tables have it: NAME or
// NAME.NAMESPACE, both of them lower-case DNS labels.
func ValidName(name string) bool {
	name, ns, found := strings.Cut(name, ".")
	return isLabel(name) && (!found || isLabel(ns))
}

// inNamespace reports whether a valid name spells out that namespace.
func inNamespace(name, namespace string) bool {
	_, ns, found := strings.Cut(name, ".")
	return found && ns == namespace
}

func isLabel(s string) bool {
	if s == "" || len(s) > maxLabelLen || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

// notOfToken tells characters that occur in no JWT: not base64url, not a dot.
func notOfToken(c rune) bool {
	return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.')
}

func validTimeout(millis int64) error {
	if millis < 0 || millis > MaxTimeoutMillis {
		return fmt.Errorf("%d is not within 0 and %d", millis, MaxTimeoutMillis)
	}
	return nil
}

func validRate(r float64) error {
	if r == Unlimited || r >= 0 && r <= MaxRate {
		return nil
	}
	if math.IsNaN(r) || math.IsInf(r, 0) {
		return fmt.Errorf("%v is not a number of requests/s", r)
	}
	return fmt.Errorf("%v is not within 0 and %v requests/s, nor -1 for unlimited", r, float64(MaxRate))
}
