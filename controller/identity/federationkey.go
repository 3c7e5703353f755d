package identity

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/libp2p/go-libp2p/core/pnet"
)

const (
	keyHeader = "/key/swarm/psk/1.0.0/\n/base16/\n"
	keySize   = 32 // bytes
)

// NewFederationKey returns the content of a new federation key's file: 256
// random bits in the swarm key format, version 1.
func NewFederationKey() []byte {
	key := make([]byte, keySize)
	rand.Read(key) // never fails: it aborts the process rather than return an error
	return []byte(keyHeader + hex.EncodeToString(key) + "\n")
}

// CreateFederationKey writes a new federation key to the file, mode 0600. It
// never replaces an existing file.
func CreateFederationKey(path string) error {
	err := createSecret(path, NewFederationKey())
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already: a federation key is never overwritten", path)
	}
	if err != nil {
		return fmt.Errorf("writing the federation key: %w", err)
	}
	return nil
}

// LoadFederationKey reads a federation key's file. One that other users can
// read, or that does not hold a key, is refused.
func LoadFederationKey(path string) (pnet.PSK, error) {
	data, err := readSecret(path)
	if err != nil {
		return nil, fmt.Errorf("reading the federation key: %w", err)
	}
	psk, err := pnet.DecodeV1PSK(bytes.NewReader(data))
	if err != nil {
		// The library's error is left out because it quotes the content.
		return nil, fmt.Errorf("reading the federation key: %s is not a swarm key of version 1 (/key/swarm/psk/1.0.0/): "+
			"make one with `dfaasctl keygen`", path)
	}
	return psk, nil
}
