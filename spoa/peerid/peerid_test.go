package peerid

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

func TestFromKeyAndParse(t *testing.T) {
	for seed := range byte(50) {
		key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)).Public().(ed25519.PublicKey)
		id := FromKey(key)
		if len(id) != Len || !strings.HasPrefix(id, "12D3KooW") {
			t.Errorf("id %q is none of libp2p's for Ed25519", id)
		}
		got, err := Parse(id)
		if err != nil || !got.Equal(key) {
			t.Errorf("Parse(%s) = %x, %v, want %x", id, got, err, key)
		}
	}
}

// TestLibp2pAgrees has ids and their keys as go-libp2p v0.51.0 converts them.
func TestLibp2pAgrees(t *testing.T) {
	for id, want := range map[string]string{
		"12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7": "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c",
		"12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA": "2ffa35a99d3a3cfbb17bb7c1dc5561b18a8dcca4df38dc613ea859c37eb1336b",
	} {
		if key, err := Parse(id); err != nil || hex.EncodeToString(key) != want {
			t.Errorf("Parse(%s) = %x, %v, want %s", id, key, err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := FromKey(make(ed25519.PublicKey, ed25519.PublicKeySize))
	for name, id := range map[string]string{
		"empty":             "",
		"short":             good[:Len-1],
		"long":              good + "1",
		"not base58":        good[:Len-1] + "0",
		"not ASCII":         good[:Len-2] + "é",
		"of an RSA key":     "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
		"another key type":  "16Uiu2HAm" + good[9:],
		"another multihash": "2" + good[1:],
		"space":             " " + good[1:],
	} {
		if key, err := Parse(id); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: Parse(%q) = %x, %v, want ErrInvalid", name, id, key, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(FromKey(make(ed25519.PublicKey, ed25519.PublicKeySize)))
	f.Add("12D3KooW")
	f.Fuzz(func(t *testing.T, id string) {
		key, err := Parse(id)
		if err == nil && FromKey(key) != id {
			t.Errorf("%q and %q are ids of the same key", id, FromKey(key))
		}
	})
}
