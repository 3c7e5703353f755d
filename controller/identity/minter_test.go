package identity

import (
	"fmt"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/token"
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
		signed, err := m.Token(now, testvalue.Peer("peer"))
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
		if c.Issuer != id.String() || len(c.Audience) != 1 || c.Audience[0] != testvalue.Peer("peer").String() {
			t.Fatalf("claims: %+v", c)
		}
	}
	if renewals < 19 || renewals > 22 {
		t.Errorf("%d tokens in 5 minutes: want one about every 15 s", renewals)
	}
}

// TestRotationIsUnnoticed: of the requests that show the token of the newest
// table, none is refused, although that table may be 14 s old and the receiver's
// clock 10 s off. A clock that is further off is noticed.
func TestRotationIsUnnoticed(t *testing.T) {
	sender, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	for _, skew := range []time.Duration{0, token.Leeway, -token.Leeway, token.Leeway + 16*time.Second, -token.Leeway - 2*time.Second} {
		for _, refresh := range []time.Duration{100 * time.Millisecond, 5 * time.Second, 14 * time.Second} {
			m := NewMinter(sender)
			issuer := token.NewVerifier(receiver.PeerID()).Issuer(sender.PeerID())
			start := time.Date(2026, 1, 1, 0, 0, 0, 300e6, time.UTC)
			shown, tokens, refused := "", 0, make(map[token.Reason]int)
			for elapsed := time.Duration(0); elapsed < 3*time.Minute; elapsed += 50 * time.Millisecond {
				now := start.Add(elapsed)
				if elapsed%refresh == 0 {
					signed, err := m.Token(now, receiver.PeerID())
					if err != nil {
						t.Fatal(err)
					}
					if signed != shown {
						shown, tokens = signed, tokens+1
					}
				}
				if reason := issuer.Check(now.Add(skew), shown); reason != token.OK {
					refused[reason]++
				}
			}
			if tokens < 6 {
				t.Fatalf("%d tokens in 3 minutes", tokens)
			}
			if tolerated := skew.Abs() <= token.Leeway; tolerated != (len(refused) == 0) {
				t.Errorf("clock %v off, a table every %v: refused %v", skew, refresh, refused)
			}
		}
	}
}

func TestTokensArePerPeer(t *testing.T) {
	id, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	m, now := NewMinter(id), time.Now()
	a, err := m.Token(now, testvalue.Peer("a"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Token(now, testvalue.Peer("b"))
	if err != nil {
		t.Fatal(err)
	}
	if a == b || claims(t, id, b, now).Audience[0] != testvalue.Peer("b").String() {
		t.Error("two peers have the same token")
	}
}

func TestTokenAfterTheClockWasSetBack(t *testing.T) {
	id, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	m, now := NewMinter(id), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if _, err := m.Token(now, testvalue.Peer("a")); err != nil {
		t.Fatal(err)
	}
	back := now.Add(-time.Hour)
	signed, err := m.Token(back, testvalue.Peer("a"))
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
		if _, err := m.Token(now, testvalue.Peer(fmt.Sprint("peer", i))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.Token(now.Add(time.Minute), testvalue.Peer("last")); err != nil {
		t.Fatal(err)
	}
	if len(m.tokens) != 1 {
		t.Errorf("%d tokens are kept", len(m.tokens))
	}
}
