package identity

import (
	"fmt"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// claims verifies the token with the identity's public key at that time.
func claims(t *testing.T, id *Identity, signed string, at time.Time) *jwt.RegisteredClaims {
	t.Helper()
	var c jwt.RegisteredClaims
	_, err := jwt.ParseWithClaims(signed, &c, func(*jwt.Token) (any, error) { return id.Ed25519().Public(), nil },
		jwt.WithTimeFunc(func() time.Time { return at }), jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithExpirationRequired())
	if err != nil {
		t.Fatal(err)
	}
	return &c
}

func TestTokensAreRenewedInTime(t *testing.T) {
	id, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	m := NewMinter(id)
	start := time.Date(2026, 1, 1, 0, 0, 0, 700e6, time.UTC)
	last, renewals := "", 0
	for elapsed := time.Duration(0); elapsed < 5*time.Minute; elapsed += 100 * time.Millisecond {
		now := start.Add(elapsed)
		signed, err := m.Token(now, "peer")
		if err != nil {
			t.Fatal(err)
		}
		if signed != last {
			last, renewals = signed, renewals+1
		}
		c := claims(t, id, signed, now)
		if left := c.ExpiresAt.Sub(now); left < renewBelow || left > tokenLifetime {
			t.Fatalf("after %v a token is good for %v", elapsed, left)
		}
		if c.Issuer != id.String() || len(c.Audience) != 1 || c.Audience[0] != "peer" {
			t.Fatalf("claims: %+v", c)
		}
	}
	if renewals < 19 || renewals > 22 {
		t.Errorf("%d tokens in 5 minutes: want one about every 15 s", renewals)
	}
}

func TestTokensArePerPeer(t *testing.T) {
	id, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	m, now := NewMinter(id), time.Now()
	a, err := m.Token(now, "a")
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Token(now, "b")
	if err != nil {
		t.Fatal(err)
	}
	if a == b || claims(t, id, b, now).Audience[0] != "b" {
		t.Error("two peers have the same token")
	}
}

func TestTokenAfterTheClockWasSetBack(t *testing.T) {
	id, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	m, now := NewMinter(id), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if _, err := m.Token(now, "a"); err != nil {
		t.Fatal(err)
	}
	back := now.Add(-time.Hour)
	signed, err := m.Token(back, "a")
	if err != nil {
		t.Fatal(err)
	}
	if left := claims(t, id, signed, back).ExpiresAt.Sub(back); left > tokenLifetime {
		t.Errorf("token is good for %v", left)
	}
}

func TestMinterForgetsPeers(t *testing.T) {
	id, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	m, now := NewMinter(id), time.Now()
	for i := range 100 {
		if _, err := m.Token(now, fmt.Sprint("peer", i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.Token(now.Add(time.Minute), "last"); err != nil {
		t.Fatal(err)
	}
	if len(m.tokens) != 1 {
		t.Errorf("%d tokens are kept", len(m.tokens))
	}
}
