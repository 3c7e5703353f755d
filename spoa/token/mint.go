package token

import (
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/dfaas/dfaas/spoa/peerid"
)

// Bounds of a token in time.
const (
	// MaxLifetime is the most that may lie between iat and exp.
	MaxLifetime = 30 * time.Second
	// Leeway is by how much two nodes' clocks may differ: it is granted on every
	// comparison of times.
	Leeway = 10 * time.Second
)

// MaxLen is the length in bytes beyond which nothing is looked at. Minted
// tokens have about 330.
const MaxLen = 1024

// Mint makes a token that lets the holder of key, whose peer id is iss, send
// requests to the peer aud from now on for ttl. Times in a token are whole
// seconds; ttl must be within 1 s and MaxLifetime.
func Mint(key ed25519.PrivateKey, iss, aud peerid.ID, now time.Time, ttl time.Duration) (string, error) {
	if ttl < time.Second || ttl > MaxLifetime {
		return "", fmt.Errorf("mint token for %s: lifetime of %v is not within 1 s and %v", aud, ttl, MaxLifetime)
	}
	if len(key) != ed25519.PrivateKeySize {
		return "", fmt.Errorf("mint token for %s: private key of %d bytes, want %d", aud, len(key), ed25519.PrivateKeySize)
	}
	t, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.RegisteredClaims{
		Issuer:    iss.String(),
		Audience:  jwt.ClaimStrings{aud.String()},
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Truncate(time.Second).Add(ttl)),
	}).SignedString(key)
	if err != nil {
		return "", fmt.Errorf("mint token for %s: %w", aud, err)
	}
	return t, nil
}
