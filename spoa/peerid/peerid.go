// Package peerid holds the ids of peers as libp2p writes those with an Ed25519 key
// (12D3KooW...). Such an id contains the key itself, so that knowing who a peer is
// means being able to check what it signed.
package peerid

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"

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

// ID is a peer id. There is no other than one that Parse accepts, or FromKey has made,
// and the zero value, which is nobody's. IDs are comparable, and ordered as their texts
// are.
type ID struct{ text string }

// Parse returns the id that is written like that. It accepts exactly one spelling of
// each.
func Parse(text string) (ID, error) {
	if len(text) != Len {
		return ID{}, fmt.Errorf("%.60q: %w: %d bytes long instead of %d", text, ErrInvalid, len(text), Len)
	}
	raw, err := base58.Decode(text)
	if err != nil || len(raw) != len(header)+ed25519.PublicKeySize || !bytes.HasPrefix(raw, header) {
		return ID{}, fmt.Errorf("%q: %w", text, ErrInvalid)
	}
	return ID{text}, nil
}

// FromKey returns the peer id of a public key, which must be
// ed25519.PublicKeySize bytes long.
func FromKey(key ed25519.PublicKey) ID {
	return ID{base58.Encode(append(bytes.Clone(header), key...))}
}

// Key returns the public key that the id contains, nil for nobody's.
func (id ID) Key() ed25519.PublicKey {
	if id.IsZero() {
		return nil
	}
	return ed25519.PublicKey(id.Multihash()[len(header):])
}

// Multihash returns the bytes of the id, which is how libp2p has it in memory.
func (id ID) Multihash() []byte {
	raw, _ := base58.Decode(id.text) // Parse has decoded it before
	return raw
}

// String returns the id as Parse reads it, "" for nobody's.
func (id ID) String() string { return id.text }

// IsZero reports whether it is nobody's id.
func (id ID) IsZero() bool { return id.text == "" }

// Compare orders ids by their texts: it returns -1, 0 or 1.
func (id ID) Compare(other ID) int { return strings.Compare(id.text, other.text) }

// MarshalText writes the id as Parse reads it.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.text), nil }

// UnmarshalText is Parse.
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = Parse(string(text))
	return err
}
