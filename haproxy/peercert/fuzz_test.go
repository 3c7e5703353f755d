package peercert

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"
)

// FuzzParse reads what may be in the file of a certificate: what is accepted is
// signed by the key of the id, and nobody else's.
func FuzzParse(f *testing.F) {
	own, err := Issue(idA, keyOf(1), now)
	if err != nil {
		f.Fatal(err)
	}
	other, err := Issue(idB, keyOf(2), now)
	if err != nil {
		f.Fatal(err)
	}
	cut := strings.Index(own.PEM, "-----BEGIN PRIVATE KEY")
	for _, text := range []string{own.PEM, other.PEM, own.PEM[:cut] + other.PEM, own.PEM[cut:] + own.PEM[:cut], "x\n" + own.PEM + "x", ""} {
		f.Add(text)
	}
	public := keyOf(1).Public().(ed25519.PublicKey)
	trusted, err := anchor(idA, public)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Parse(text, idA, public)
		if err != nil {
			oneLine(t, err)
			return
		}
		block, rest := pem.Decode([]byte(text))
		for block != nil && block.Type != "CERTIFICATE" {
			block, rest = pem.Decode(rest)
		}
		if block == nil {
			t.Fatalf("accepted without a certificate: %q", text)
		}
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil || leaf.CheckSignatureFrom(trusted) != nil {
			t.Fatalf("accepted, and not signed by the id's key: %v", err)
		}
		if got.ID != idA || got.PEM != text || got.Serial.Cmp(leaf.SerialNumber) != 0 || !got.Expires.Equal(leaf.NotAfter) {
			t.Errorf("%+v", got)
		}
		if _, err := Parse(text, idB, keyOf(2).Public().(ed25519.PublicKey)); err == nil {
			t.Error("accepted as another peer's as well")
		}
	})
}

// FuzzPEM: what may be part of a command to HAProxy ends it nowhere, and has no
// more certificates than were counted.
func FuzzPEM(f *testing.F) {
	one, err := Anchor(idA, keyOf(1).Public().(ed25519.PublicKey))
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range []string{
		one, one + one, one + "\n", strings.Replace(one, "-----\n", "-----\nName: x;y\n\n", 1), "-----BEGIN x;y-----\n-----END x;y-----\n",
		"-----BEGIN \x00-----\n-----END \x00-----\n", "",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		serials, err := Serials(text)
		if err != nil {
			oneLine(t, err)
		}
		if most := strings.Count(text, "-----BEGIN"); len(serials) > most {
			t.Errorf("%d certificates where at most %d begin", len(serials), most)
		}
		if !Canonical(text) {
			return
		}
		if !strings.HasPrefix(text, "-----BEGIN ") || !strings.HasSuffix(text, "-----\n") || strings.Contains(text, "\n\n") {
			t.Errorf("may be part of a command: %q", text)
		}
		for _, r := range text {
			if r != '\n' && (r < ' ' || r > '~') {
				t.Errorf("may be part of a command, and has %q: %q", r, text)
			}
		}
		if !Canonical(text + text) {
			t.Errorf("twice the same may not: %q", text)
		}
	})
}

// FuzzAnchor: whatever the id and the key, an anchor is one certificate that may
// be part of a command, the same each time, and holds what was given.
func FuzzAnchor(f *testing.F) {
	f.Add(idA, []byte(keyOf(1).Public().(ed25519.PublicKey)))
	f.Add("x\n\nshow info;", make([]byte, ed25519.PublicKeySize))
	f.Add("", []byte{})
	f.Fuzz(func(t *testing.T, id string, key []byte) {
		text, err := Anchor(id, key)
		if err != nil {
			oneLine(t, err)
			return
		}
		again, err := Anchor(id, key)
		if err != nil || again != text || !Canonical(text) {
			t.Errorf("%q, then %q, %v", text, again, err)
		}
		if serials, err := Serials(text); err != nil || len(serials) != 1 || serials[0].Sign() <= 0 {
			t.Errorf("serial numbers %v, %v", serials, err)
		}
		a, err := anchor(id, key)
		if err != nil || a.Subject.CommonName != id || a.NotAfter.Before(time.Now()) || !ed25519.PublicKey(key).Equal(a.PublicKey) {
			t.Errorf("%q: %+v, %v", id, a, err)
		}
	})
}

func oneLine(t *testing.T, err error) {
	t.Helper()
	if text := err.Error(); text == "" || len(text) > 500 || strings.ContainsAny(text, "\n\r\x00") {
		t.Errorf("an error of %d bytes: %q", len(text), text)
	}
}
