// Package peercert makes the certificates that HAProxies of peers show each
// other. There is no authority: each node signs its own with the Ed25519 key
// that its peer id contains. So everybody who knows a peer's id knows which
// certificates are that peer's, and none has to be sent around.
package peercert

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Lifetime is how long a certificate can be used. It is long because HAProxy
// reads its own only when it starts or is reloaded, which DFaaS does not do to
// it.
const Lifetime = 2 * 365 * 24 * time.Hour

// The PEM blocks that this package writes.
const typeCertificate, typeKey = "CERTIFICATE", "PRIVATE KEY"

// Certificate is what a node's HAProxy shows. The key in it is made for it and
// is not the node's identity.
type Certificate struct {
	ID      string // whose it is
	PEM     string // certificate and key
	Serial  *big.Int
	Expires time.Time
}

// Issue makes a new certificate for the node of that peer id and identity key.
func Issue(id string, identity ed25519.PrivateKey, now time.Time) (Certificate, error) {
	anchor, err := anchor(id, identity.Public().(ed25519.PublicKey))
	if err != nil {
		return Certificate{}, err
	}
	// Cheaper in OpenSSL than Ed25519.
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Certificate{}, fmt.Errorf("making the key of a certificate: %w", err)
	}
	serial := make([]byte, 16)
	rand.Read(serial) // never fails
	template := &x509.Certificate{
		SerialNumber: serialNumber(serial),
		Subject:      pkix.Name{CommonName: id},
		DNSNames:     []string{id},
		// Nothing is gained by a begin, and a clock that was ahead when it was
		// issued would make it useless for long.
		NotBefore: always,
		NotAfter:  now.Add(Lifetime).UTC(),
		// Given, since Go leaves it out where subject and issuer have one name.
		AuthorityKeyId: anchor.SubjectKeyId,
		KeyUsage:       x509.KeyUsageDigitalSignature,
		ExtKeyUsage:    []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, anchor, key.Public(), identity)
	if err != nil {
		return Certificate{}, fmt.Errorf("making a certificate: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Certificate{}, fmt.Errorf("making a certificate: %w", err)
	}
	return Certificate{
		ID:      id,
		PEM:     encode(typeCertificate, der) + encode(typeKey, private),
		Serial:  template.SerialNumber,
		Expires: template.NotAfter,
	}, nil
}

// Parse reads a certificate with its key, as Issue writes it. It is refused if
// it is not one of the peer with that id and key.
func Parse(text, id string, key ed25519.PublicKey) (Certificate, error) {
	pair, err := tls.X509KeyPair([]byte(text), []byte(text))
	if err != nil {
		return Certificate{}, fmt.Errorf("reading a certificate: %w", err)
	}
	anchor, err := anchor(id, key)
	if err != nil {
		return Certificate{}, err
	}
	if err := pair.Leaf.CheckSignatureFrom(anchor); err != nil || pair.Leaf.Issuer.CommonName != id {
		return Certificate{}, fmt.Errorf("the certificate is not that of %.60s", id)
	}
	return Certificate{ID: id, PEM: text, Serial: pair.Leaf.SerialNumber, Expires: pair.Leaf.NotAfter}, nil
}

// Anchor returns, in PEM, what the certificates of the peer with that id and
// key have to be signed by. It is the same on all nodes and at all times.
func Anchor(id string, key ed25519.PublicKey) (string, error) {
	a, err := anchor(id, key)
	if err != nil {
		return "", err
	}
	return encode(typeCertificate, a.Raw), nil
}

// Serials returns the serial numbers of all certificates of a PEM text, in
// their order. That of an anchor is made from the peer's key.
func Serials(text string) ([]*big.Int, error) {
	var serials []*big.Int
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return serials, nil
		}
		if block.Type != typeCertificate {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading a certificate: %w", err)
		}
		serials = append(serials, c.SerialNumber)
	}
}

// Canonical reports whether the text is nothing but PEM blocks as this package
// writes them, so that it can be part of a command to HAProxy.
func Canonical(text string) bool {
	rest, again := []byte(text), new(bytes.Buffer)
	for len(rest) > 0 {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != typeCertificate && block.Type != typeKey {
			return false
		}
		again.WriteString(encode(block.Type, block.Bytes))
	}
	return text != "" && again.String() == text
}

var (
	forever = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) // as RFC 5280 says it
	always  = time.Unix(0, 0).UTC()
)

// anchor makes the peer's anchor. Its own signature is made by a key that is no
// secret, since nobody ever checks the signature of what they trust: OpenSSL and
// Go look at the name and the key in it.
func anchor(id string, key ed25519.PublicKey) (*x509.Certificate, error) {
	if len(key) != ed25519.PublicKeySize || id == "" || len(id) > 64 {
		return nil, errors.New("an anchor needs an Ed25519 key and a peer id")
	}
	digest := sha256.Sum256(key)
	template := &x509.Certificate{
		SerialNumber: serialNumber(digest[:16]),
		Subject:      pkix.Name{CommonName: id},
		NotBefore:    always,
		NotAfter:     forever,
		// Without certificates in between: a peer could write any issuer into those.
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage:     x509.KeyUsageCertSign,
		SubjectKeyId: digest[:4], // given, since Go's own choice changed between its versions
	}
	nobody := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	der, err := x509.CreateCertificate(rand.Reader, template, template, key, nobody)
	if err != nil {
		return nil, fmt.Errorf("making an anchor: %w", err)
	}
	return x509.ParseCertificate(der)
}

// serialNumber makes a positive number that is never zero.
func serialNumber(b []byte) *big.Int {
	b[0] = b[0]&0x3f | 0x40
	return new(big.Int).SetBytes(b)
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
