package peerid

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestFromKeyAndParse(t *testing.T) {
	for seed := range byte(50) {
		key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)).Public().(ed25519.PublicKey)
		id := FromKey(key)
		if len(id.String()) != Len || !strings.HasPrefix(id.String(), "12D3KooW") {
			t.Errorf("id %q is none of libp2p's for Ed25519", id)
		}
		got, err := Parse(id.String())
		if err != nil || got != id || !got.Key().Equal(key) {
			t.Errorf("Parse(%s) = %s, %v, of the key %x, want %x", id, got, err, got.Key(), key)
		}
	}
}

// TestLibp2pAgrees has ids and their keys as go-libp2p v0.51.0 converts them.
func TestLibp2pAgrees(t *testing.T) {
	for id, want := range map[string]string{
		"12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7": "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c",
		"12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA": "2ffa35a99d3a3cfbb17bb7c1dc5561b18a8dcca4df38dc613ea859c37eb1336b",
	} {
		if got, err := Parse(id); err != nil || hex.EncodeToString(got.Key()) != want {
			t.Errorf("Parse(%s) = %x, %v, want %s", id, got.Key(), err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := FromKey(make(ed25519.PublicKey, ed25519.PublicKeySize)).String()
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
		if got, err := Parse(id); !errors.Is(err, ErrInvalid) || !got.IsZero() {
			t.Errorf("%s: Parse(%q) = %s, %v, want ErrInvalid", name, id, got, err)
		}
	}
}

// TestText: an id is checked when it is read from JSON, and is what was written.
func TestText(t *testing.T) {
	id := FromKey(make(ed25519.PublicKey, ed25519.PublicKeySize))
	data, err := json.Marshal(map[ID]ID{id: id})
	if err != nil {
		t.Fatal(err)
	}
	var back map[ID]ID
	if err := json.Unmarshal(data, &back); err != nil || len(back) != 1 || back[id] != id {
		t.Errorf("%s is read as %v, %v", data, back, err)
	}
	for _, bad := range []string{`""`, `"12D3KooW"`} {
		if err := json.Unmarshal([]byte(bad), &id); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestOrderAndZero(t *testing.T) {
	a, b := FromKey(bytes.Repeat([]byte{1}, 32)), FromKey(bytes.Repeat([]byte{2}, 32))
	if a.Compare(b) != -1 || b.Compare(a) != 1 || a.Compare(a) != 0 || a.Compare(ID{}) != 1 {
		t.Errorf("%s and %s are not in the order of their texts", a, b)
	}
	if nobody := (ID{}); !nobody.IsZero() || nobody.String() != "" || nobody.Key() != nil || a.IsZero() {
		t.Errorf("nobody's id is %q, its key %x", nobody, nobody.Key())
	}
}

func FuzzParse(f *testing.F) {
	f.Add(FromKey(make(ed25519.PublicKey, ed25519.PublicKeySize)).String())
	f.Add("12D3KooW")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := Parse(text)
		if err == nil && (FromKey(id.Key()) != id || id.String() != text) {
			t.Errorf("%q and %q are ids of the same key", text, FromKey(id.Key()))
		}
	})
}
