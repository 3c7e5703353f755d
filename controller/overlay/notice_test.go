package overlay

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/dfaas/dfaas/controller/membership"
)

// A node whose announcements are refused hears of it, from those that refuse it.
func TestRefusedNodeIsTold(t *testing.T) {
	nodes := runEach(t, 3, func(int, *Config) {})
	nodes[1].join(nodes[0])
	nodes[2].join(nodes[0])
	waitMesh(t, nodes[0], nodes[1])
	const reason = "announces 192.0.2.10:8081, but is connected from 127.0.0.1"
	nodes[0].Refuse([]membership.Refusal{{Peer: nodes[1].ID(), Reason: reason + "\x1b[31m\n"}, {Peer: "192.0.2.1", Reason: "no id"}})
	waitFor(t, "told", func() bool { return len(nodes[1].RefusedBy()) == 1 })
	got := nodes[1].RefusedBy()[0]
	if got.Peer != nodes[0].ID() || got.Reason != reason+"?[31m?" {
		t.Errorf("got %+v", got)
	}
	if list := nodes[2].RefusedBy(); len(list) != 0 {
		t.Errorf("told, too: %+v", list)
	}
	// Nothing else comes of it.
	waitMesh(t, nodes[0], nodes[1])
}

func TestNoticesAreBounded(t *testing.T) {
	nodes := runEach(t, 1, func(int, *Config) {})
	n := nodes[0].notices
	now := time.Now()
	var list []membership.Refusal
	for range 3 * maxNotices {
		list = append(list, membership.Refusal{Peer: config(t).Identity.String(), Reason: "no"})
	}
	n.o.Refuse(list)
	all := func(peer.ID) bool { return true }
	told := 0
	for second := range time.Duration(30) {
		due := len(n.due(now.Add(second*time.Second), all))
		if told += due; due > maxNotices {
			t.Errorf("%d at a time", due)
		}
	}
	if told != len(list) {
		t.Errorf("%d were told within 30 s, want each of %d once", told, len(list))
	}
	if due := n.due(now.Add(2*noticeEvery), all); len(due) == 0 {
		t.Error("nobody is told again")
	}
	for i := range 1000 {
		if !n.mayNotify(now, peer.ID(fmt.Sprint(i))) {
			t.Error("another peer is not heard")
		}
	}
	if n.mayNotify(now.Add(noticeGap-1), "1") || !n.mayNotify(now.Add(noticeGap), "1") || len(n.heard) != 1 {
		t.Errorf("one peer is heard too soon, or not again; %d are kept", len(n.heard))
	}
}

// FuzzNotice: whatever a peer sends, what is shown is one short line.
func FuzzNotice(f *testing.F) {
	f.Add([]byte("announces 192.0.2.1:80"))
	f.Add([]byte("\x1b]0;x\a\r\n\xff\xe2\x80\xae"))
	f.Add(bytes.Repeat([]byte("x"), 2*maxNotice))
	f.Fuzz(func(t *testing.T, data []byte) {
		got := readNotice(bytes.NewReader(data))
		if len(got) > maxNotice || strings.ContainsFunc(got, func(c rune) bool { return c < ' ' || c > '~' }) || got != strings.TrimSpace(got) {
			t.Fatalf("shown: %q", got)
		}
	})
}
