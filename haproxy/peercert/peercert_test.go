package peercert

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"
)

const (
	idA = "12D3KooWD3bfmNbuuuVGDMJd6Q4bSUKkpRuGDjZUmYNiFTkeGmkA"
	idB = "12D3KooWD3bfmNbuuuVGDMJd6Q4bSUKkpRuGDjZUmYNiFTkeGmkB"
)

var now = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func keyOf(n byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return ed25519.NewKeyFromSeed(seed)
}

func issue(t *testing.T, id string, key ed25519.PrivateKey) Certificate {
	t.Helper()
	c, err := Issue(id, key, now)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func anchorOf(t *testing.T, id string, key ed25519.PrivateKey) string {
	t.Helper()
	a, err := Anchor(id, key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestOnlyTheKeyOfTheIDSigns(t *testing.T) {
	for _, test := range []struct {
		name   string
		anchor string
		cert   Certificate
		at     time.Time
		ok     bool
	}{
		{"its own", anchorOf(t, idA, keyOf(1)), issue(t, idA, keyOf(1)), now, true},
		{"a clock that is slow", anchorOf(t, idA, keyOf(1)), issue(t, idA, keyOf(1)), now.AddDate(-10, 0, 0), true},
		{"at its end", anchorOf(t, idA, keyOf(1)), issue(t, idA, keyOf(1)), now.Add(Lifetime - time.Second), true},
		{"after its end", anchorOf(t, idA, keyOf(1)), issue(t, idA, keyOf(1)), now.Add(Lifetime + time.Second), false},
		{"another peer's", anchorOf(t, idA, keyOf(1)), issue(t, idB, keyOf(2)), now, false},
		{"another key under its id", anchorOf(t, idA, keyOf(1)), issue(t, idA, keyOf(2)), now, false},
		{"its key under another id", anchorOf(t, idA, keyOf(1)), issue(t, idB, keyOf(1)), now, false},
	} {
		pair, err := tls.X509KeyPair([]byte(test.cert.PEM), []byte(test.cert.PEM))
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM([]byte(test.anchor)) {
			t.Fatal("the anchor is no certificate")
		}
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: test.at, KeyUsages: []x509.ExtKeyUsage{usage}})
			if (err == nil) != test.ok {
				t.Errorf("%s: %v", test.name, err)
			}
		}
		if pair.Leaf.IsCA || pair.Leaf.PublicKeyAlgorithm != x509.ECDSA || !pair.Leaf.NotAfter.Equal(test.cert.Expires) {
			t.Errorf("%s: %+v", test.name, pair.Leaf)
		}
	}
}

func TestAnchorIsTheSameEverywhere(t *testing.T) {
	a := anchorOf(t, idA, keyOf(1))
	if a != anchorOf(t, idA, keyOf(1)) {
		t.Error("two anchors of one peer differ")
	}
	// What counts against HAProxy's buffer of 16 KiB; docs/install.md says how many fit.
	if len(a) > 570 {
		t.Errorf("an anchor has %d bytes", len(a))
	}
	block, _ := pem.Decode([]byte(a))
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if !c.IsCA || c.MaxPathLen != 0 || !c.MaxPathLenZero || c.Subject.CommonName != idA {
		t.Errorf("%+v", c)
	}
}

func TestParse(t *testing.T) {
	own := issue(t, idA, keyOf(1))
	got, err := Parse(own.PEM, idA, keyOf(1).Public().(ed25519.PublicKey))
	if err != nil || got.ID != idA || got.PEM != own.PEM || got.Serial.Cmp(own.Serial) != 0 || !got.Expires.Equal(own.Expires) {
		t.Errorf("%+v, %v", got, err)
	}
	other := issue(t, idA, keyOf(2))
	cut := strings.Index(own.PEM, "-----BEGIN PRIVATE KEY")
	for name, text := range map[string]string{
		"another key's": other.PEM, "another id's": issue(t, idB, keyOf(1)).PEM, "no key": own.PEM[:cut], "no certificate": own.PEM[cut:],
		"the key of another": own.PEM[:cut] + other.PEM[strings.Index(other.PEM, "-----BEGIN PRIVATE KEY"):], "nothing": "",
	} {
		if _, err := Parse(text, idA, keyOf(1).Public().(ed25519.PublicKey)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSerials(t *testing.T) {
	a, b, leaf := anchorOf(t, idA, keyOf(1)), anchorOf(t, idB, keyOf(2)), issue(t, idA, keyOf(1))
	serials, err := Serials(a + leaf.PEM + b)
	if err != nil || len(serials) != 3 {
		t.Fatalf("%v, %v", serials, err)
	}
	if serials[1].Cmp(leaf.Serial) != 0 || serials[0].Cmp(serials[2]) == 0 {
		t.Errorf("%v", serials)
	}
	if another := issue(t, idA, keyOf(1)); another.Serial.Cmp(leaf.Serial) == 0 {
		t.Error("two certificates have the same serial number")
	}
}

func TestAnchorRefusesWhatIsNoPeer(t *testing.T) {
	for id, key := range map[string]ed25519.PublicKey{
		"": keyOf(1).Public().(ed25519.PublicKey), idA: nil, strings.Repeat("x", 65): keyOf(1).Public().(ed25519.PublicKey),
	} {
		if _, err := Anchor(id, key); err == nil {
			t.Errorf("%q, %d bytes of key: accepted", id, len(key))
		}
	}
}

func TestCanonical(t *testing.T) {
	a := anchorOf(t, idA, keyOf(1))
	if !Canonical(a) || !Canonical(a+issue(t, idA, keyOf(1)).PEM) {
		t.Error("refused what this package writes")
	}
	for _, text := range []string{
		"", "\n", "x", a + "\n", a + "x", "x" + a, strings.Replace(a, "\n", "\n\n", 1), strings.ReplaceAll(a, "\n", "\r\n"),
		strings.Replace(a, "-----\n", "-----\nName: x;y\n\n", 1), a + ";show info", strings.ReplaceAll(a, "CERTIFICATE", "x\x00y"), strings.TrimSuffix(a, "\n"),
	} {
		if Canonical(text) {
			t.Errorf("accepted %q", text)
		}
	}
}
