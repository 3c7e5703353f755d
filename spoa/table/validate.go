package table

import (
	"errors"
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

	ids map[peerid.ID]bool // of Peers
}

// Validate returns the table as a valid one, or the first thing that is wrong with
// it, naming the function or peer and the field.
func (t *Table) Validate(limits Limits) (Valid, error) {
	return t.ValidateAfter(Valid{Limits: limits.orDefaults()})
}

// ValidateAfter is Validate with the limits of a table that was found valid before.
// Rows that both share are not looked at again.
func (t *Table) ValidateAfter(before Valid) (Valid, error) { return t.validate(before, nil) }

// validate is ValidateAfter that pauses as Read does.
func (t *Table) validate(before Valid, pause func()) (Valid, error) {
	if before.Table == nil {
		before.Table = new(Table)
	}
	v := Valid{Table: t, Limits: before.Limits}
	if err := t.validateHead(len(t.Functions), len(t.Peers), v.Limits); err != nil {
		return Valid{}, fmt.Errorf("table: %w", err)
	}
	if t.NodeID.IsZero() {
		return Valid{}, errors.New("table: node_id: is missing")
	}
	same, err := v.validatePeers(&before)
	if err != nil {
		return Valid{}, err
	}
	rows := before.Functions
	if t.DefaultNamespace != before.DefaultNamespace || !same && slices.ContainsFunc(before.Peers, func(p Peer) bool { return !v.ids[p.ID] }) {
		rows = nil // what was right may be wrong now
	}
	if err := v.validateFunctions(rows, pause); err != nil {
		return Valid{}, err
	}
	return v, nil
}

// validateHead checks all of a table but what it lists, of which there are so many.
func (t *Table) validateHead(functions, peers int, limits Limits) error {
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
	case functions > limits.Functions:
		return fmt.Errorf("functions: %d of them, at most %d are accepted", functions, limits.Functions)
	case peers > limits.Peers:
		return fmt.Errorf("peers: %d of them, at most %d are accepted", peers, limits.Peers)
	}
	return nil
}

// validatePeers keeps the ids of all peers. Those of a valid table are taken over if they
// are the same, which it reports.
func (t *Valid) validatePeers(before *Valid) (same bool, err error) {
	if before.ids != nil && t.NodeID == before.NodeID && slices.EqualFunc(t.Peers, before.Peers, func(a, b Peer) bool { return a.ID == b.ID }) {
		t.ids = before.ids
		for i := range t.Peers {
			if p := &t.Peers[i]; *p != before.Peers[i] {
				if err := p.validate(); err != nil {
					return false, fmt.Errorf("peer %s: %w", p.ID, err)
				}
			}
		}
		return true, nil
	}
	t.ids = make(map[peerid.ID]bool, len(t.Peers))
	for i := range t.Peers {
		p := &t.Peers[i]
		if p.ID.IsZero() {
			return false, fmt.Errorf("peer number %d: id: is missing", i+1)
		}
		if t.ids[p.ID] {
			return false, fmt.Errorf("peer %s: id: listed twice", p.ID)
		}
		if p.ID == t.NodeID {
			return false, fmt.Errorf("peer %s: id: is this node itself", p.ID)
		}
		t.ids[p.ID] = true
		if err := p.validate(); err != nil {
			return false, fmt.Errorf("peer %s: %w", p.ID, err)
		}
	}
	return false, nil
}

func (p *Peer) validate() error {
	if len(p.Token) > MaxTokenLen {
		return fmt.Errorf("token: %d bytes long, at most %d are accepted", len(p.Token), MaxTokenLen)
	}
	if strings.ContainsFunc(p.Token, notOfToken) {
		return fmt.Errorf("token: has characters that no JWT has")
	}
	if len(p.Source) > MaxSourceLen {
		return fmt.Errorf("source: %d bytes long, at most %d are accepted", len(p.Source), MaxSourceLen)
	}
	return nil
}

// validateFunctions does not look into rows that it shares with a list that is valid,
// as far as both are in the order of names.
func (t *Valid) validateFunctions(before []Function, pause func()) error {
	names, forwards, admissions := t.names(), 0, 0
	for i := range t.Functions {
		f := &t.Functions[i]
		for len(before) > 0 && before[0].Name.Compare(f.Name) < 0 {
			before = before[1:]
		}
		if len(before) == 0 || !f.Same(&before[0]) {
			var row *Function
			if len(before) > 0 && before[0].Name == f.Name {
				row = &before[0]
			}
			if err := t.validateFunction(i, names, row); err != nil {
				return err
			}
			if pause != nil {
				pause()
			}
		}
		if forwards += len(f.Forward); forwards > t.Limits.Forwards {
			return fmt.Errorf("function %s: forward: over %d entries in the table", f.Name, t.Limits.Forwards)
		}
		if admissions += len(f.Admit); admissions > t.Limits.Forwards {
			return fmt.Errorf("function %s: admit: over %d entries in the table", f.Name, t.Limits.Forwards)
		}
	}
	return nil
}

// names tells how often each function is listed, or nothing where the order shows that
// none is twice.
func (t *Valid) names() map[funcname.Name]int {
	if ascending(t.Functions, (*Function).name) {
		return nil
	}
	names := make(map[funcname.Name]int, len(t.Functions))
	for i := range t.Functions {
		names[t.Functions[i].Name]++
	}
	return names
}

// validateFunction checks a row; before is the same function's that is valid, nil for none.
func (t *Valid) validateFunction(i int, names map[funcname.Name]int, before *Function) error {
	f := &t.Functions[i]
	if f.Name == (funcname.Name{}) {
		return fmt.Errorf("function number %d: name: is missing", i+1)
	}
	if err := checkNamespace(f.Name, t.DefaultNamespace); err != nil {
		return fmt.Errorf("function %s: name: %w", f.Name, err)
	}
	if names[f.Name] > 1 {
		return fmt.Errorf("function %s: name: listed twice", f.Name)
	}
	if err := f.validate(t.ids, before); err != nil {
		return fmt.Errorf("function %s: %w", f.Name, err)
	}
	return nil
}

func (f *Function) validate(peers map[peerid.ID]bool, before *Function) error {
	if f.Local != nil {
		if err := f.Local.validate(); err != nil {
			return fmt.Errorf("local: %w", err)
		}
	}
	if err := f.validateAsync(peers); err != nil {
		return fmt.Errorf("async: %w", err)
	}
	if before == nil || !sameSlice(f.Admit, before.Admit) {
		if err := f.validateAdmit(peers); err != nil {
			return fmt.Errorf("admit: %w", err)
		}
	}
	if !(f.Unmet >= 0 && f.Unmet <= 1) {
		return fmt.Errorf("unmet: %v is not within 0 and 1", f.Unmet)
	}
	listed := listed(f.Forward, func(fw *Forward) peerid.ID { return fw.Peer })
	for i := range f.Forward {
		fw := &f.Forward[i]
		if !peers[fw.Peer] {
			return fmt.Errorf("forward: peer: %s is not one of the table's peers", fw.Peer)
		}
		if listed[fw.Peer] {
			return fmt.Errorf("forward: %s: peer: listed twice", fw.Peer)
		}
		if listed != nil {
			listed[fw.Peer] = true
		}
		if !(fw.Weight >= 0 && fw.Weight <= MaxWeight) {
			return fmt.Errorf("forward: %s: weight: %v is not within 0 and %v", fw.Peer, fw.Weight, float64(MaxWeight))
		}
		if err := limit.CheckTimeout(fw.TimeoutMillis); err != nil {
			return fmt.Errorf("forward: %s: timeout_ms: %w", fw.Peer, err)
		}
	}
	return nil
}

func (f *Function) validateAsync(peers map[peerid.ID]bool) error {
	if len(f.Async) > MaxAsync {
		return fmt.Errorf("%d peers, at most %d are accepted", len(f.Async), MaxAsync)
	}
	for i, id := range f.Async {
		if !peers[id] {
			return fmt.Errorf("%s is not one of the table's peers", id)
		}
		if slices.Contains(f.Async[:i], id) {
			return fmt.Errorf("%s: listed twice", id)
		}
	}
	return nil
}

// listed is where to note who is listed: nil for a list whose order shows that nobody is
// there twice.
func listed[T any](list []T, peer func(*T) peerid.ID) map[peerid.ID]bool {
	for i := 1; i < len(list); i++ {
		if peer(&list[i-1]).Compare(peer(&list[i])) >= 0 {
			return make(map[peerid.ID]bool, len(list))
		}
	}
	return nil
}

func (f *Function) validateAdmit(peers map[peerid.ID]bool) error {
	listed := listed(f.Admit, func(a *Admission) peerid.ID { return a.Peer })
	for i := range f.Admit {
		a := &f.Admit[i]
		if !peers[a.Peer] {
			return fmt.Errorf("peer: %s is not one of the table's peers", a.Peer)
		}
		if listed[a.Peer] {
			return fmt.Errorf("%s: peer: listed twice", a.Peer)
		}
		if listed != nil {
			listed[a.Peer] = true
		}
	}
	return nil
}

func (l *Local) validate() error {
	if !(l.Share >= 0 && l.Share <= 1) {
		return fmt.Errorf("share: %v is not within 0 and 1", l.Share)
	}
	if err := limit.CheckTimeout(l.TimeoutMillis); err != nil {
		return fmt.Errorf("timeout_ms: %w", err)
	}
	return nil
}

// checkNamespace refuses a name that spells out the default namespace.
func checkNamespace(name funcname.Name, defaultNamespace string) error {
	if namespace, named := name.Namespace(); named && namespace == defaultNamespace {
		return errors.New("functions of the default namespace are named without it")
	}
	return nil
}

// notOfToken tells characters that occur in no JWT: not base64url, not a dot.
func notOfToken(c rune) bool {
	return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.')
}
