package table

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"

	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/spoa/peerid"
)

// Valid is a table in which nothing is wrong, as only Decode and Validate find
// it: who has one need check nothing. The table must not be changed any more.
type Valid struct {
	*Table
	Limits Limits // that it is within
	// Keys are what the ids of Peers contain, in their order.
	Keys []ed25519.PublicKey
}

// Validate returns the table as a valid one, or the first thing that is wrong with
// it, naming the function or peer and the field.
func (t *Table) Validate(limits Limits) (Valid, error) {
	v := Valid{Table: t, Limits: limits.orDefaults(), Keys: make([]ed25519.PublicKey, len(t.Peers))}
	if err := v.validateHead(); err != nil {
		return Valid{}, fmt.Errorf("table: %w", err)
	}
	peers, err := v.validatePeers()
	if err != nil {
		return Valid{}, err
	}
	if err := v.validateFunctions(peers); err != nil {
		return Valid{}, err
	}
	return v, nil
}

func (t *Valid) validateHead() error {
	if err := t.checkVersion(); err != nil {
		return err
	}
	switch {
	case t.Version == 0:
		return fmt.Errorf("version: must be at least 1")
	case t.TTLMillis < 1 || t.TTLMillis > MaxTTL.Milliseconds():
		return fmt.Errorf("ttl_ms: %d is not within 1 and %d", t.TTLMillis, MaxTTL.Milliseconds())
	case t.ClockOffsetMillis > MaxClockOffset.Milliseconds() || t.ClockOffsetMillis < -MaxClockOffset.Milliseconds():
		return fmt.Errorf("clock_offset_ms: %d is not within %d of 0", t.ClockOffsetMillis, MaxClockOffset.Milliseconds())
	case t.DefaultNamespace != "" && !funcname.ValidLabel(t.DefaultNamespace):
		return fmt.Errorf("default_namespace: %.80q is not a namespace", t.DefaultNamespace)
	case !slices.Contains([]string{QueueUnknown, QueueHere, QueueNone, QueueDown}, t.Queue):
		return fmt.Errorf("queue: %.80q is none of %s, %s and %s", t.Queue, QueueHere, QueueNone, QueueDown)
	case len(t.Functions) > t.Limits.Functions:
		return fmt.Errorf("functions: %d of them, at most %d are accepted", len(t.Functions), t.Limits.Functions)
	case len(t.Peers) > t.Limits.Peers:
		return fmt.Errorf("peers: %d of them, at most %d are accepted", len(t.Peers), t.Limits.Peers)
	}
	if _, err := peerid.Parse(t.NodeID); err != nil {
		return fmt.Errorf("node_id: %w", err)
	}
	return nil
}

// validatePeers returns the ids of all peers and keeps their keys.
func (t *Valid) validatePeers() (map[string]bool, error) {
	peers := make(map[string]bool, len(t.Peers))
	inbound := 0
	for i := range t.Peers {
		p := &t.Peers[i]
		key, err := peerid.Parse(p.ID)
		if err != nil {
			return nil, fmt.Errorf("peer number %d: id: %w", i+1, err)
		}
		t.Keys[i] = key
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
		if inbound += len(p.Inbound); inbound > t.Limits.Forwards {
			return nil, fmt.Errorf("peer %s: inbound: over %d entries in the table", p.ID, t.Limits.Forwards)
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
	if len(p.Source) > MaxSourceLen {
		return fmt.Errorf("source: %d bytes long, at most %d are accepted", len(p.Source), MaxSourceLen)
	}
	for name, rate := range p.Inbound {
		if err := funcname.Check(name); err != nil {
			return fmt.Errorf("inbound: %w", err)
		}
		if inNamespace(name, defaultNamespace) {
			return fmt.Errorf("inbound: %s: functions of the default namespace are named without it", name)
		}
		if err := checkLimit(rate); err != nil {
			return fmt.Errorf("inbound: %s: %w", name, err)
		}
	}
	return nil
}

func (t *Valid) validateFunctions(peers map[string]bool) error {
	names := make(map[string]bool, len(t.Functions))
	forwards := 0
	for i := range t.Functions {
		f := &t.Functions[i]
		if err := funcname.Check(f.Name); err != nil {
			return fmt.Errorf("function number %d: name: %w", i+1, err)
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
		if forwards += len(f.Forward); forwards > t.Limits.Forwards {
			return fmt.Errorf("function %s: forward: over %d entries in the table", f.Name, t.Limits.Forwards)
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
	if err := f.validateAsync(peers); err != nil {
		return fmt.Errorf("async: %w", err)
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
		if err := checkLimit(fw.Rate); err != nil {
			return fmt.Errorf("forward: %s: rate: %w", fw.Peer, err)
		}
		if err := limit.CheckRate(fw.Spare); err != nil {
			return fmt.Errorf("forward: %s: spare: %w", fw.Peer, err)
		}
		if err := limit.CheckTimeout(fw.TimeoutMillis); err != nil {
			return fmt.Errorf("forward: %s: timeout_ms: %w", fw.Peer, err)
		}
	}
	return nil
}

func (f *Function) validateAsync(peers map[string]bool) error {
	if len(f.Async) > MaxAsync {
		return fmt.Errorf("%d peers, at most %d are accepted", len(f.Async), MaxAsync)
	}
	for i, id := range f.Async {
		if !peers[id] {
			return fmt.Errorf("%.80q is not one of the table's peers", id)
		}
		if slices.Contains(f.Async[:i], id) {
			return fmt.Errorf("%s: listed twice", id)
		}
	}
	return nil
}

func (l *Local) validate() error {
	if err := checkLimit(l.Rate); err != nil {
		return fmt.Errorf("rate: %w", err)
	}
	if !(l.Share >= 0 && l.Share <= 1) {
		return fmt.Errorf("share: %v is not within 0 and 1", l.Share)
	}
	if err := limit.CheckTimeout(l.TimeoutMillis); err != nil {
		return fmt.Errorf("timeout_ms: %w", err)
	}
	return nil
}

// inNamespace reports whether a valid name spells out that namespace.
func inNamespace(name, namespace string) bool {
	_, ns, found := strings.Cut(name, ".")
	return found && ns == namespace
}

// notOfToken tells characters that occur in no JWT: not base64url, not a dot.
func notOfToken(c rune) bool {
	return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.')
}

// checkLimit is for rates that may be Unlimited, too.
func checkLimit(r float64) error {
	if r == Unlimited {
		return nil
	}
	if err := limit.CheckRate(r); err != nil {
		return fmt.Errorf("%w, nor %d for unlimited", err, Unlimited)
	}
	return nil
}
