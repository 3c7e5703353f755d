package overlay

import (
	"sync/atomic"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/wire"
)

// duplicates finds out whether another node uses this node's identity. Gossipsub drops
// what comes from others in this node's name, before it looks at the signature,
// and never sends a message to a peer that has its author's id unless the peer
// asks. So a duplicate shows only to nodes that are not in the mesh of all the others;
// the others, which hear both, tell it (see witness). Safe for concurrent use.
type duplicates struct {
	self    peer.ID
	key     crypto.PubKey
	refused *refusals
	epoch   atomic.Int64 // of this run, 0: nothing announced yet
}

// watch looks at a message in this node's name that somebody else relayed. Who
// relays such things is scored down by gossipsub, which bounds the work.
func (t *duplicates) watch(msg *pubsub.Message) {
	a, err := wire.Decode(msg.GetData())
	if err != nil || !membership.Duplicate(t.epoch.Load(), a) || !signedBy(t.key, msg) {
		return
	}
	t.refused.add(t.self.String(), membership.SharedIdentity)
}

// signedBy checks a message's signature as gossipsub does.
func signedBy(key crypto.PubKey, msg *pubsub.Message) bool {
	unsigned := *msg.Message
	unsigned.Signature, unsigned.Key = nil, nil
	data, err := unsigned.Marshal()
	if err != nil {
		return false
	}
	ok, err := key.Verify(append([]byte(pubsub.SignPrefix), data...), msg.Signature)
	return ok && err == nil
}
