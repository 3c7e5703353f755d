package token

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/dfaas/dfaas/internal/strictjson"
	"github.com/dfaas/dfaas/spoa/peerid"
)

// Verifier checks tokens that are made out to one node. It and its Issuers are
// safe for concurrent use.
type Verifier struct {
	audience peerid.ID
	parser   *jwt.Parser
	refused  refusals
	budget   budget
}

// NewVerifier returns a verifier of tokens whose audience is that node.
func NewVerifier(nodeID peerid.ID) *Verifier {
	v := &Verifier{
		audience: nodeID,
		// Times and audience are checked in admissible, which says exactly what is wrong.
		parser: jwt.NewParser(jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding()),
	}
	v.refused.init()
	return v
}

// Audience returns the peer id that tokens must be made out to.
func (v *Verifier) Audience() peerid.ID { return v.audience }

// Issuer is one peer whose tokens are checked, with its latest good ones.
type Issuer struct {
	id       peerid.ID
	key      ed25519.PublicKey // that the id contains
	verifier *Verifier
	accepted accepted
}

// Issuer returns the checker of the tokens of one peer. It is made once for each peer
// and kept, for it remembers which tokens were good.
func (v *Verifier) Issuer(peer peerid.ID) *Issuer {
	return &Issuer{id: peer, key: peer.Key(), verifier: v}
}

// Check reports whether a token was made by this peer for the verifier's node and
// is valid now. Known tokens cost a comparison and allocate nothing; the number
// of signatures checked each second is bounded, whatever is sent.
func (i *Issuer) Check(now time.Time, token string) Reason {
	switch {
	case token == "":
		return MissingToken
	case len(token) > MaxLen:
		return Malformed
	case i.accepted.has(now, token):
		return OK
	}
	tag := i.verifier.refused.tag(i.id.String(), token)
	if reason := i.verifier.refused.lookup(now, tag); reason != OK {
		return reason
	}
	good, reason := i.verify(now, token)
	switch reason {
	case OK:
		i.accepted.add(now, good)
	case Busy:
		// Nothing is known about it, and a good one must get its turn.
	default:
		i.verifier.refused.add(now, tag, reason)
	}
	return reason
}

// verify checks everything that costs little before the signature, which
// costs most.
func (i *Issuer) verify(now time.Time, token string) (verdict, Reason) {
	header, _, _ := strings.Cut(token, ".")
	if !i.verifier.plainHeader(header) || strings.ContainsAny(token, "\r\n") { // which base64 would skip
		return verdict{}, Malformed
	}
	var c claims
	reason, parsed := Malformed, false
	_, err := i.verifier.parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) {
		parsed = true
		if reason = i.admissible(now, t.Method, &c); reason != OK {
			return nil, errRefused
		}
		if !i.verifier.budget.take(now) {
			reason = Busy
			return nil, errRefused
		}
		return i.key, nil
	})
	switch {
	case err == nil:
		return verdict{token: strings.Clone(token), from: c.validFrom(), until: c.ExpiresAt.Add(Leeway)}, OK
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return verdict{}, BadSignature
	case errors.Is(err, jwt.ErrTokenUnverifiable) && !parsed:
		return verdict{}, BadAlgorithm // none that the library knows
	}
	return verdict{}, reason
}

var errRefused = errors.New("refused")

// plainHeader reports whether a JWT header has each name once and makes no
// demands (crit) that nobody here understands.
func (v *Verifier) plainHeader(segment string) bool {
	header, err := v.parser.DecodeSegment(segment)
	if err != nil {
		return false
	}
	var known struct {
		Algorithm string `json:"alg"`
		Type      string `json:"typ"`
	}
	return strictjson.Unmarshal(header, &known) == nil
}

// claims are the claims of a token, each of them at most once.
type claims struct{ jwt.RegisteredClaims }

// UnmarshalJSON refuses claims that are given twice: the parts of a node must
// not read one token in two ways.
func (c *claims) UnmarshalJSON(data []byte) error {
	type plain jwt.RegisteredClaims
	return strictjson.Unmarshal(data, (*plain)(&c.RegisteredClaims))
}

// validFrom is the first moment at which the token may be used.
func (c *claims) validFrom() time.Time {
	from := c.IssuedAt.Time
	if c.NotBefore != nil && c.NotBefore.After(from) {
		from = c.NotBefore.Time
	}
	return from.Add(-Leeway)
}

// admissible checks all of a token but its signature.
func (i *Issuer) admissible(now time.Time, method jwt.SigningMethod, c *claims) Reason {
	switch {
	case method != jwt.SigningMethodEdDSA:
		return BadAlgorithm
	case c.ExpiresAt == nil || c.IssuedAt == nil || c.ExpiresAt.Before(c.IssuedAt.Time):
		return Malformed
	case c.Issuer != i.id.String():
		return WrongIssuer
	case len(c.Audience) != 1 || c.Audience[0] != i.verifier.audience.String():
		return WrongAudience
	case c.ExpiresAt.Sub(c.IssuedAt.Time) > MaxLifetime+Leeway:
		return TooLongLived
	case !now.Before(c.ExpiresAt.Add(Leeway)):
		return Expired
	case now.Before(c.validFrom()):
		return NotYetValid
	}
	return OK
}
