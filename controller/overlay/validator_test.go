package overlay

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/peerid"
)

func newValidator(allow map[peer.ID]bool) *validator {
	refused := &refusals{log: zerolog.Nop()}
	g := newGate(allow, refused, newBook(false))
	g.parse = func(text string) (peerid.ID, error) { return testvalue.Peer(text), nil } // short names for peers
	return &validator{
		offended: func(peer.ID) {}, witness: func(time.Time, peer.ID, wire.Announcement) {},
		self: "self", gate: g, refused: refused,
		metrics: newMetrics(nil, nil, nil), authors: make(map[peer.ID]*author),
	}
}

func message(from peer.ID, data string) *pubsub.Message {
	return &pubsub.Message{Message: &pb.Message{From: []byte(from), Data: []byte(data)}}
}

const goodAnnouncement = `{"v":1,"epoch":2,"seq":1,"http":"192.0.2.1:80","strategy":"static","period_ms":1000,"f":[]}`

func announcementOf(seq int) string {
	return strings.Replace(goodAnnouncement, `"seq":1`, fmt.Sprintf(`"seq":%d`, seq), 1)
}

// TestReplaysMuteNobody: a member repeats what another said before. That one is
// heard all the same, over others, too, and the one who repeats is cut short.
func TestReplaysMuteNobody(t *testing.T) { synctest.Test(t, replaysMuteNobody) }

func replaysMuteNobody(t *testing.T) {
	v := newValidator(nil)
	accepts := func(relay peer.ID, seq int) bool {
		return v.validate(t.Context(), relay, message("victim", announcementOf(seq))) == pubsub.ValidationAccept
	}
	if !accepts("victim", 1000) {
		t.Fatal("not heard at all")
	}
	for i := range 3 * authorBurst {
		if accepts("attacker", 1+i) {
			t.Fatal("a stale announcement is passed on")
		}
	}
	if !accepts("honest", 1001) || !accepts("victim", 1002) {
		t.Error("muted by replays")
	}
	if n := testutil.ToFloat64(v.metrics.refused.WithLabelValues(reasonStale)); n != 3*authorBurst {
		t.Errorf("%v counted as stale", n)
	}
	if tokens := v.authors["attacker"].stale.Tokens(); tokens >= 1 {
		t.Errorf("the attacker may go on: %v", tokens)
	}
	if accepts("attacker", 1003) {
		t.Error("what comes from the attacker is still read")
	}
	// Started anew by a clock that was put back: heard from itself, once the run
	// before is over, and from then on from others, too.
	earlier := strings.Replace(announcementOf(1), `"epoch":2`, `"epoch":1`, 1)
	speaks := func(relay peer.ID) bool {
		return v.validate(t.Context(), relay, message("victim", earlier)) == pubsub.ValidationAccept
	}
	if speaks("victim") {
		t.Error("an earlier epoch is taken while the author is alive")
	}
	time.Sleep(5 * time.Second)
	if speaks("honest") {
		t.Error("an earlier epoch is taken from another")
	}
	if !speaks("victim") {
		t.Error("an earlier epoch is not taken from the author itself")
	}
	earlier = strings.Replace(announcementOf(2), `"epoch":2`, `"epoch":1`, 1)
	if !speaks("honest") || accepts("victim", 1004) {
		t.Error("not the run that is alive is heard")
	}
}

// TestOnlyEd25519: tokens are checked with the key inside the peer id, so a peer
// without one would spoil everybody's table.
func TestOnlyEd25519(t *testing.T) {
	refused := &refusals{log: zerolog.Nop()}
	g := newGate(nil, refused, newBook(false))
	for keyType, want := range map[int]bool{crypto.Ed25519: true, crypto.Secp256k1: false, crypto.ECDSA: false, crypto.RSA: false} {
		key, _, err := crypto.GenerateKeyPair(keyType, 2048)
		if err != nil {
			t.Fatal(err)
		}
		id, err := peer.IDFromPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		if _, allowed := g.check(id); allowed != want || g.InterceptPeerDial(id) != want {
			t.Errorf("key type %d: want %v", keyType, want)
		}
	}
	if n := len(refused.recent()); n != 3 {
		t.Errorf("%d refusals are shown, want 3", n)
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name        string
		from, relay peer.ID
		data        string
		want        pubsub.ValidationResult
		reason      string // counted
	}{
		{"good", "a", "a", goodAnnouncement, pubsub.ValidationAccept, ""},
		{"good, relayed", "a", "b", goodAnnouncement, pubsub.ValidationAccept, ""},
		{"own", "self", "self", "anything", pubsub.ValidationAccept, ""},
		{"malformed", "a", "a", "{}{}", pubsub.ValidationReject, reasonMalformed},
		{"malformed, relayed", "a", "b", "{}{}", pubsub.ValidationReject, reasonMalformed},
		{"newer version", "a", "a", `{"v":2,"x":1}`, pubsub.ValidationIgnore, reasonVersion},
		{"stranger", "x", "a", goodAnnouncement, pubsub.ValidationIgnore, reasonAllow},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			v := newValidator(map[peer.ID]bool{"a": true, "b": true})
			msg := message(test.from, test.data)
			if got := v.validate(context.Background(), test.relay, msg); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
			if _, ok := msg.ValidatorData.(valid); ok != (test.want == pubsub.ValidationAccept && test.from != "self") {
				t.Errorf("carries %T", msg.ValidatorData)
			}
			if test.reason != "" && testutil.ToFloat64(v.metrics.refused.WithLabelValues(test.reason)) != 1 {
				t.Errorf("not counted as %s", test.reason)
			}
			if refused := len(v.refused.recent()); (refused > 0) != (test.reason != "") {
				t.Errorf("%d refusals", refused)
			}
		})
	}
}

func TestAcceptedAnnouncementClearsRefusals(t *testing.T) {
	v := newValidator(nil)
	v.validate(t.Context(), "a", message("a", "bad"))
	v.validate(t.Context(), "b", message("a", goodAnnouncement))
	if len(v.refused.recent()) != 1 {
		t.Error("cleared by what another relayed")
	}
	v.validate(t.Context(), "a", message("a", announcementOf(2)))
	if list := v.refused.recent(); len(list) != 0 {
		t.Errorf("not cleared: %+v", list)
	}
}

func TestFloodIsDropped(t *testing.T) {
	v := newValidator(nil)
	results := make(map[pubsub.ValidationResult]int)
	for i := range 2 * authorBurst {
		results[v.validate(t.Context(), "relay", message("flooder", announcementOf(i+1)))]++
	}
	if results[pubsub.ValidationAccept] < authorBurst || results[pubsub.ValidationReject] > 0 || results[pubsub.ValidationIgnore] == 0 {
		t.Errorf("relayed: %v", results)
	}
	if v.validate(t.Context(), "relay", message("other", goodAnnouncement)) != pubsub.ValidationAccept {
		t.Error("others suffer")
	}
	clear(results)
	for range 2 * authorBurst {
		results[v.validate(t.Context(), "flooder", message("flooder", goodAnnouncement))]++
	}
	if results[pubsub.ValidationReject] == 0 {
		t.Errorf("directly: %v", results)
	}
}

func TestAuthorsAreBounded(t *testing.T) {
	v := newValidator(nil)
	now := time.Unix(1000, 0)
	for i := range maxAuthors {
		if reason := v.overRate(now, peer.ID(fmt.Sprint(i)), peer.ID(fmt.Sprint(i))); reason != "" {
			t.Fatal(reason)
		}
	}
	if reason := v.overRate(now, "one more", "one more"); reason != reasonAuthors {
		t.Errorf("one more: %q", reason)
	}
	if reason := v.overRate(now.Add(authorIdle+1), "later", "later"); reason != "" || len(v.authors) != 1 {
		t.Errorf("later: %q, %d authors", reason, len(v.authors))
	}
}

// TestMadeUpAuthorsKeepNobodyOut: some relays pass on announcements of ever new
// authors, whom they made up, and keep those fresh that were taken in.
// Who speaks for itself is heard, and so is whom an honest relay speaks for.
func TestMadeUpAuthorsKeepNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newValidator(nil)
		accepts := func(relay, from peer.ID, seq int) bool {
			return v.validate(t.Context(), relay, message(from, announcementOf(seq))) == pubsub.ValidationAccept
		}
		for i := range introduceBurst {
			if !accepts("honest", peer.ID(fmt.Sprint("member-", i)), 1) {
				t.Fatalf("a whole federation cannot be introduced: %d", i)
			}
		}
		// Twenty minutes of twenty a second, and what was accepted is kept fresh.
		var phantoms []peer.ID
		const relays = 4
		for second := range 1200 {
			for relay := range relays {
				for i := range 20 {
					phantom := peer.ID(fmt.Sprint("phantom-", relay, "-", second, "-", i))
					if accepts(peer.ID(fmt.Sprint("attacker-", relay)), phantom, 1) {
						phantoms = append(phantoms, phantom)
					}
				}
			}
			if second%30 == 0 {
				for i, phantom := range phantoms[max(0, len(phantoms)-maxAuthors):] {
					accepts(peer.ID(fmt.Sprint("attacker-", i%relays)), phantom, 2+second)
				}
			}
			if len(v.authors) > maxAuthors {
				t.Fatalf("%d authors", len(v.authors))
			}
			time.Sleep(time.Second)
		}
		if n, bound := len(phantoms), relays*(introduceBurst+1200*introduceRate+introduceRate); n > bound {
			t.Errorf("%d made-up authors were passed on, at most %d may be", n, bound)
		}
		if len(v.authors) < maxAuthors {
			t.Fatalf("the table is not full: %d", len(v.authors))
		}
		for i := range membership.DefaultMaxMembers {
			if id := peer.ID(fmt.Sprint("newcomer-", i)); !accepts(id, id, 1) {
				t.Fatalf("newcomer %d is not heard", i)
			}
		}
		if !accepts("honest", "far newcomer", 1) || !accepts("newcomer-0", "far newcomer", 2) {
			t.Error("a newcomer that others relay is not heard")
		}
		if v.authors["newcomer-0"] == nil || v.authors["attacker-0"] == nil {
			t.Error("who speaks for itself has given way")
		}
	})
}

func TestSilent(t *testing.T) {
	v := newValidator(nil)
	v.validate(t.Context(), "relay", message("p", goodAnnouncement))
	v.validate(t.Context(), "q", message("q", strings.Replace(goodAnnouncement, `"f":[]`, `"leaving":true,"f":[]`, 1)))
	v.validate(t.Context(), "r", message("r", "bad"))
	now := time.Now()
	if silent := v.silent(now.Add(2 * time.Second)); len(silent) != 0 {
		t.Errorf("silent after two periods: %v", silent)
	}
	silent := v.silent(now.Add(4 * time.Second))
	if _, p := silent["p"]; len(silent) != 1 || !p {
		t.Errorf("silent after four periods: %v, want p: q has left, r never announced itself", silent)
	}
}

// A peer that has nothing to say but is there keeps its connections.
func TestQuietPeerStaysConnected(t *testing.T) {
	nodes := runEach(t, 2, func(int, *Config) {})
	nodes[1].join(nodes[0])
	waitMesh(t, nodes...)
	opened := nodes[0].Peers()[0].Since
	nodes[0].ask(nodes[1].host.ID())
	if peers := nodes[0].Peers(); len(peers) != 1 || peers[0].Since != opened {
		t.Errorf("connections were closed: %+v", peers)
	}
	// One that does not answer loses them.
	nodes[1].host.RemoveStreamHandler(ping.ID)
	nodes[0].ask(nodes[1].host.ID())
	waitFor(t, "other connections", func() bool {
		peers := nodes[0].Peers()
		return len(peers) == 1 && peers[0].Since != opened
	})
}

// FuzzValidate: whatever anybody signs or relays, it is accepted as an
// announcement within its bounds, or counted and remembered in one short line.
func FuzzValidate(f *testing.F) {
	f.Add("a", "a", []byte(goodAnnouncement))
	f.Add("a", "b", []byte(`{"v":2,"x":"\n"}`))
	f.Add("b", "b", []byte(`{"v":1,"f":[{"n":"\u0000"}]}`))
	f.Add("", "self", []byte("\xff"))
	f.Fuzz(func(t *testing.T, from, relay string, data []byte) {
		v := newValidator(map[peer.ID]bool{"a": true, "b": true})
		msg := message(peer.ID(from), string(data))
		result := v.validate(t.Context(), peer.ID(relay), msg)
		said, carries := msg.ValidatorData.(valid)
		if carries != (result == pubsub.ValidationAccept && from != "self") {
			t.Fatalf("%v carries %T", result, msg.ValidatorData)
		}
		if carries {
			if _, _, err := wire.Encode(said.announcement); err != nil {
				t.Fatalf("accepted out of bounds: %v", err)
			}
		}
		if refused := v.refused.recent(); (len(refused) > 0) != (result != pubsub.ValidationAccept) {
			t.Fatalf("%v, and %d refusals", result, len(refused))
		} else if len(refused) > 0 && (len(refused[0].Reason) > 500 || strings.ContainsAny(refused[0].Reason, "\n\r\x1b")) {
			t.Fatalf("refused with %q", refused[0].Reason)
		}
	})
}
