package overlay

import (
	"slices"
	"testing"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/internal/testvalue"
)

func announcementAt(epoch, sentAt int64) wire.Announcement {
	return wire.Announcement{
		V: 1, Epoch: epoch, Seq: 1, SentAtMillis: sentAt, HTTP: "127.0.0.1:8081", Strategy: "static", PeriodMillis: 1000,
	}
}

// Gossipsub has not looked at the signature yet, so anybody could claim it all.
func TestForgedTwinProvesNothing(t *testing.T) {
	key := config(t).Identity.Key()
	self, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	data, _, err := wire.Encode(announcementAt(2000, 2000))
	if err != nil {
		t.Fatal(err)
	}
	topic := "topic"
	signed := &pb.Message{From: []byte(self), Data: data, Seqno: []byte("12345678"), Topic: &topic}
	text, err := signed.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if signed.Signature, err = key.Sign(append([]byte(pubsub.SignPrefix), text...)); err != nil {
		t.Fatal(err)
	}
	other := *signed
	other.Data = slices.Concat(data[:len(data)-1], []byte(" }"))
	unsigned := *signed
	unsigned.Signature = nil
	for name, c := range map[string]struct {
		msg  *pb.Message
		want int
	}{"signed": {signed, 1}, "other content": {&other, 0}, "unsigned": {&unsigned, 0}} {
		tw := &duplicates{self: self, key: key.GetPublic(), refused: &refusals{log: zerolog.Nop()}}
		tw.epoch.Store(1000)
		tracer{newMetrics(nil, nil, nil), tw}.RejectMessage(&pubsub.Message{Message: c.msg}, pubsub.RejectSelfOrigin)
		if n := len(tw.refused.recent()); n != c.want {
			t.Errorf("%s: %d refusals, want %d", name, n, c.want)
		}
	}
}

// TestTwinIsNoticed: two nodes have one key and know each other only by way of two more.
// If the one's mesh stays full, it tells of what it has, and the node sees for itself;
// or else the node is in the mesh, is sent nothing of its own, and its peer tells it.
func TestTwinIsNoticed(t *testing.T) {
	testvalue.SkipPrevious(t, "it has no feeds")
	t.Parallel()
	hub := run(t, config(t))
	inMesh := func(n *node) bool {
		return hub.host.ConnManager().IsProtected(n.host.ID(), "pubsub:"+hub.second.String())
	}
	others := runEach(t, gossipParams().Dhi, func(int, *Config) {})
	for _, n := range others {
		n.join(hub)
		waitFor(t, "mesh grows", func() bool { return inMesh(n) })
	}
	one := run(t, config(t))
	one.join(hub)
	one.waitHears(hub, true)
	hub.waitHears(one, true)
	if got := one.refusal(one.ID()); got != "" {
		t.Fatalf("alone, and refused because %q", got)
	}

	c := config(t)
	c.Identity = one.config.Identity
	duplicate := run(t, c)
	duplicate.join(others[0])
	a, own := announcementAt(2, 2), announcementAt(1, 3)
	own.Seq = one.seq
	waitFor(t, "the duplicate is noticed", func() bool {
		if _, err := duplicate.Publish(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		a.Seq++
		own.Seq++
		if _, err := one.Tell(own); err != nil {
			t.Fatal(err)
		}
		return one.refusal(one.ID()) == membership.SharedIdentity || one.isTold()
	})
}
