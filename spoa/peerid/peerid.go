// Package peerid converts between Ed25519 public keys and libp2p peer ids
// (12D3KooW...). Such an id contains the key itself, so that knowing who a peer
// is means being able to check what it signed.
package peerid

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/mr-tron/base58"
)

// Len is the length in bytes of every Ed25519 peer id as text.
const Len = 52

// header is what precedes the key: an identity multihash (0x00) of 36 bytes
// (0x24), holding a protobuf of key type Ed25519 (08 01) and 32 bytes of key
// (12 20).
var header = []byte{0x00, 0x24, 0x08, 0x01, 0x12, 0x20}

// ErrInvalid is what Parse returns, wrapped, for anything but a peer id.
var ErrInvalid = errors.New("not an Ed25519 peer id (12D3KooW...)")

// Parse returns the public key that a peer id contains. It accepts exactly one
// spelling of each id.
func Parse(id string) (ed25519.PublicKey, error) {
	if len(id) != Len {
		return nil, fmt.Errorf("%.60q: %w: %d bytes long instead of %d", id, ErrInvalid, len(id), Len)
	}
	raw, err := base58.Decode(id)
	if err != nil || len(raw) != len(header)+ed25519.PublicKeySize || !bytes.HasPrefix(raw, header) {
		return nil, fmt.Errorf("%q: %w", id, ErrInvalid)
	}
	return ed25519.PublicKey(raw[len(header):]), nil
}

// FromKey returns the peer id of a public key, which must be
// ed25519.PublicKeySize bytes long.
func FromKey(key ed25519.PublicKey) string {
	return base58.Encode(append(bytes.Clone(header), key...))
}
