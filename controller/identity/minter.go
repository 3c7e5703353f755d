package identity

import (
	"time"

	"github.com/dfaas/dfaas/spoa/peerid"
	"github.com/dfaas/dfaas/spoa/token"
)

const (
	tokenLifetime = token.MaxLifetime
	// renewBelow is the time left below which a token is made anew, so that
	// the table always holds tokens that outlast its next renewal.
	renewBelow = 15 * time.Second
)

// Minter keeps one current token per peer to present with forwarded requests.
// It has no clock of its own. It is owned by one goroutine.
type Minter struct {
	id     *Identity
	tokens map[peerid.ID]minted
}

type minted struct {
	token   string
	issued  time.Time
	expires time.Time
}

// NewMinter returns a minter that signs with the identity's key.
func NewMinter(id *Identity) *Minter {
	return &Minter{id: id, tokens: make(map[peerid.ID]minted)}
}

// Token returns a token for the peer that is good for at least 15 s from now.
// The same one is returned until less is left, or until the clock was set back.
func (m *Minter) Token(now time.Time, peer peerid.ID) (string, error) {
	now = now.Round(0) // wall time: that is what the receiver compares
	if t, ok := m.tokens[peer]; ok && t.current(now) {
		return t.token, nil
	}
	signed, err := token.Mint(m.id.Ed25519(), m.id.PeerID(), peer, now, tokenLifetime)
	if err != nil {
		return "", err
	}
	m.dropStale(now)
	m.tokens[peer] = minted{token: signed, issued: now, expires: now.Truncate(time.Second).Add(tokenLifetime)}
	return signed, nil
}

// dropStale forgets peers that nobody has asked a token for in a while.
func (m *Minter) dropStale(now time.Time) {
	for peer, t := range m.tokens {
		if !t.current(now) {
			delete(m.tokens, peer)
		}
	}
}

func (t minted) current(now time.Time) bool {
	return !now.Before(t.issued) && t.expires.Sub(now) >= renewBelow
}
