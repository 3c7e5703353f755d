// Package identity keeps the node's secrets: the key that is its identity, and
// the key of its federation. Neither is ever logged or printed.
package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/dfaas/dfaas/spoa/peerid"
)

// Identity is a node's Ed25519 key and the peer id that follows from it.
// Immutable and safe for concurrent use; printing one shows the peer id only.
type Identity struct {
	id      peer.ID
	peer    peerid.ID // the same
	key     crypto.PrivKey
	signing ed25519.PrivateKey
}

// LoadOrCreate reads the identity from the file, and makes one there (mode
// 0600, its directory 0700) at the first start. A file that other users can
// read, or that is not an Ed25519 key, is refused.
func LoadOrCreate(path string) (*Identity, error) {
	id, err := Load(path)
	if !missing(err) {
		return id, err
	}
	if err := create(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("making the node's identity in %s: %w", path, err)
	}
	// Read back also what was just written: of two processes starting at
	// once, both must end up with the one key that the file holds.
	return Load(path)
}

// Load reads the identity from the file; the error wraps fs.ErrNotExist when
// there is none.
func Load(path string) (*Identity, error) {
	data, err := readSecret(path)
	if err != nil {
		return nil, fmt.Errorf("reading the node's identity: %w", err)
	}
	key, err := crypto.UnmarshalPrivateKey(data)
	if err != nil || key.Type() != crypto.Ed25519 {
		return nil, fmt.Errorf("reading the node's identity: %s does not hold a libp2p Ed25519 key: "+
			"restore it, or move it away to get a new identity", path)
	}
	return New(key)
}

// New returns the identity of an Ed25519 key held in memory.
func New(key crypto.PrivKey) (*Identity, error) {
	if key.Type() != crypto.Ed25519 {
		return nil, errors.New("a node's identity must be an Ed25519 key")
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("deriving the peer id: %w", err)
	}
	raw, err := key.Raw() // seed and public key, which is Go's own form
	if err != nil {
		return nil, fmt.Errorf("reading the Ed25519 key: %w", err)
	}
	signing := ed25519.PrivateKey(raw)
	return &Identity{id: id, peer: peerid.FromKey(signing.Public().(ed25519.PublicKey)), key: key, signing: signing}, nil
}

// Generate returns a new identity that is kept in no file.
func Generate() (*Identity, error) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating an Ed25519 key: %w", err)
	}
	return New(key)
}

// ID returns the node's peer id.
func (i *Identity) ID() peer.ID { return i.id }

// Key returns the private key as libp2p wants it.
func (i *Identity) Key() crypto.PrivKey { return i.key }

// Ed25519 returns the private key for signing tokens; not to be changed.
func (i *Identity) Ed25519() ed25519.PrivateKey { return i.signing }

// PeerID returns the node's peer id, as those have it who do not know libp2p.
func (i *Identity) PeerID() peerid.ID { return i.peer }

// String returns the peer id.
func (i Identity) String() string { return i.id.String() }

// Format prints the peer id whatever the verb, so that none shows the key.
func (i Identity) Format(s fmt.State, _ rune) { io.WriteString(s, i.id.String()) }

func create(path string) error {
	id, err := Generate()
	if err != nil {
		return err
	}
	data, err := crypto.MarshalPrivateKey(id.key)
	if err != nil {
		return err
	}
	return createSecret(path, data)
}
