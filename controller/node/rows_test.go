package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/dfaas/dfaas/controller/core"
	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// Hundreds that were here for a moment, and that were turned away, have one row for
// each kind; whoever was here for longer has a row of its own.
func TestVisitorsBuryNobody(t *testing.T) {
	now := time.Now()
	v := core.View{Members: membership.Counts{Max: 256}}
	for i := range 500 {
		v.Gone = append(v.Gone, membership.Member{ID: testvalue.Peer(fmt.Sprintf("visitor-%03d", i)), Since: now.Add(-time.Second), LastSeen: now})
		v.Refused = append(v.Refused, membership.Refusal{Peer: fmt.Sprintf("refused-%03d", i), Reason: "no", Last: now})
	}
	v.Gone = append(v.Gone, membership.Member{ID: testvalue.Peer("member"), Since: now.Add(-time.Hour), LastSeen: now.Add(-time.Minute)})
	v.Refused = append(v.Refused, membership.Refusal{Peer: "latest", Reason: "no", Last: now.Add(time.Second)})
	n := &Node{options: Options{Overlay: newFakeNet().join("self")}}
	n.snapshot.Store(&snapshot{View: v})

	rows := make(map[string]string)
	summed := make(map[string]string)
	for _, p := range n.Peers() {
		if p.ID == others {
			summed[p.State] = p.Reason
			continue
		}
		rows[p.ID] = p.State
	}
	if len(rows) != maxRefusedRows+maxVisitorRows+1 || rows[testvalue.Peer("member").String()] != "expired" || rows["latest"] != "refused" {
		t.Errorf("%d rows, the member %q, who was refused last %q", len(rows), rows[testvalue.Peer("member").String()], rows["latest"])
	}
	if summed["expired"] != "484 more, each here for less than a minute" || summed["refused"] != "469 more were turned away" {
		t.Errorf("summed up: %v", summed)
	}
}
