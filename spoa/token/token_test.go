package token_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/spoa/peerid"
	"github.com/dfaas/dfaas/spoa/token"
)

var (
	peerKey, peer   = testtable.Identity(1)
	otherKey, other = testtable.Identity(2)
	self            = testtable.ID(0)
	// now is a fixed time: fuzzing runs in several processes, whose tokens must be
	// the same.
	now = time.Unix(1_800_000_000, 0)
)

func issuer() *token.Issuer { return issuerOf(token.NewVerifier(self)) }

// issuerOf is the verifier's issuer for the peer.
func issuerOf(v *token.Verifier) *token.Issuer {
	return v.Issuer(peer)
}

func mint(t testing.TB, key ed25519.PrivateKey, iss, aud peerid.ID, at time.Time) string {
	t.Helper()
	s, err := token.Mint(key, iss, aud, at, token.MaxLifetime)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sign makes a token of a header and claims as they are written, signed with
// the peer's key.
func sign(header, claims string) string {
	enc := base64.RawURLEncoding.EncodeToString
	signed := enc([]byte(header)) + "." + enc([]byte(claims))
	return signed + "." + enc(ed25519.Sign(peerKey, []byte(signed)))
}

const header = `{"alg":"EdDSA","typ":"JWT"}`

// claims are good ones, with pairs of a name and a replacement; "" removes.
func claims(changes ...string) string {
	c := map[string]json.RawMessage{
		"iss": json.RawMessage(`"` + peer.String() + `"`), "aud": json.RawMessage(`["` + self.String() + `"]`),
		"iat": json.RawMessage(fmt.Sprint(now.Unix())), "exp": json.RawMessage(fmt.Sprint(now.Unix() + 30)),
	}
	for i := 0; i < len(changes); i += 2 {
		if c[changes[i]] = json.RawMessage(changes[i+1]); changes[i+1] == "" {
			delete(c, changes[i])
		}
	}
	b, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func hs256(t testing.TB, key any) string {
	t.Helper()
	s, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": peer, "aud": self, "iat": now.Unix(), "exp": now.Unix() + 30,
	}).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCheck(t *testing.T) {
	good := mint(t, peerKey, peer, self, now)
	parts := strings.Split(good, ".")
	seconds := func(n int64) string { return fmt.Sprint(now.Unix() + n) }
	for name, test := range map[string]struct {
		token string
		want  token.Reason
	}{
		"minted":                     {good, token.OK},
		"written by hand":            {sign(header, claims()), token.OK},
		"aud as a string":            {sign(header, claims("aud", `"`+self.String()+`"`)), token.OK},
		"empty":                      {"", token.MissingToken},
		"not a token":                {"garbage", token.Malformed},
		"two dots":                   {"..", token.Malformed},
		"over-long":                  {good + strings.Repeat("A", token.MaxLen), token.Malformed},
		"header cut":                 {parts[0][1:] + "." + parts[1] + "." + parts[2], token.Malformed},
		"no signature":               {parts[0] + "." + parts[1] + ".", token.BadSignature},
		"signature cut":              {good[:len(good)-2], token.BadSignature},
		"last byte of the signature": {good[:len(good)-4] + "AAAA", token.BadSignature},
		"a fourth part":              {good + ".x", token.Malformed},
		"bits behind the last byte":  {parts[0] + "." + parts[1] + "." + parts[2][:len(parts[2])-1] + "_", token.Malformed},
		"padded":                     {good + "==", token.Malformed},
		"a line break":               {good + "\n", token.Malformed},

		"alg none":             {sign(`{"alg":"none"}`, claims()), token.BadAlgorithm},
		"alg none, unsigned":   {strings.Join(strings.Split(sign(`{"alg":"none"}`, claims()), ".")[:2], ".") + ".", token.BadAlgorithm},
		"alg nOnE":             {sign(`{"alg":"nOnE"}`, claims()), token.BadAlgorithm},
		"alg missing":          {sign(`{"typ":"JWT"}`, claims()), token.BadAlgorithm},
		"alg unknown":          {sign(`{"alg":"Ed448"}`, claims()), token.BadAlgorithm},
		"alg twice":            {sign(`{"alg":"none","alg":"EdDSA"}`, claims()), token.Malformed},
		"HS256, public key":    {hs256(t, []byte(peerKey.Public().(ed25519.PublicKey))), token.BadAlgorithm},
		"HS256, id":            {hs256(t, []byte(peer.String())), token.BadAlgorithm},
		"crit":                 {sign(`{"alg":"EdDSA","crit":["x"],"x":1}`, claims()), token.Malformed},
		"key in the header":    {sign(`{"alg":"EdDSA","jwk":{"kty":"OKP"}}`, claims()), token.Malformed},
		"header is not JSON":   {sign(`EdDSA`, claims()), token.Malformed},
		"header is null":       {sign(`null`, claims()), token.BadAlgorithm},
		"signed by another":    {mint(t, otherKey, peer, self, now), token.BadSignature},
		"of another":           {mint(t, otherKey, other, self, now), token.WrongIssuer},
		"no issuer":            {sign(header, claims("iss", "")), token.WrongIssuer},
		"issuer is a number":   {sign(header, claims("iss", "1")), token.Malformed},
		"issuer twice":         {sign(header, `{"iss":"x",`+claims()[1:]), token.Malformed},
		"issuer in two cases":  {sign(header, `{"ISS":"x",`+claims()[1:]), token.Malformed},
		"for another":          {mint(t, peerKey, peer, other, now), token.WrongAudience},
		"for nobody":           {sign(header, claims("aud", "")), token.WrongAudience},
		"for none":             {sign(header, claims("aud", "[]")), token.WrongAudience},
		"for two":              {sign(header, claims("aud", `["`+self.String()+`","`+other.String()+`"]`)), token.WrongAudience},
		"for me twice":         {sign(header, claims("aud", `["`+self.String()+`","`+self.String()+`"]`)), token.WrongAudience},
		"for an object":        {sign(header, claims("aud", `{"x":1}`)), token.Malformed},
		"claims are no object": {sign(header, `"x"`), token.Malformed},
		"claims are null":      {sign(header, `null`), token.Malformed},
		"an unknown claim":     {sign(header, claims("admin", "true")), token.Malformed},

		"no exp":                    {sign(header, claims("exp", "")), token.Malformed},
		"no iat":                    {sign(header, claims("iat", "")), token.Malformed},
		"exp null":                  {sign(header, claims("exp", "null")), token.Malformed},
		"exp is a string":           {sign(header, claims("exp", `"soon"`)), token.Malformed},
		"exp before iat":            {sign(header, claims("exp", seconds(-1))), token.Malformed},
		"expired":                   {mint(t, peerKey, peer, self, now.Add(-45*time.Second)), token.Expired},
		"expired within the leeway": {mint(t, peerKey, peer, self, now.Add(-35*time.Second)), token.OK},
		"of the future":             {mint(t, peerKey, peer, self, now.Add(15*time.Second)), token.NotYetValid},
		"a little of the future":    {mint(t, peerKey, peer, self, now.Add(8*time.Second)), token.OK},
		"nbf in the future":         {sign(header, claims("nbf", seconds(20))), token.NotYetValid},
		"40 s":                      {sign(header, claims("exp", seconds(40))), token.OK},
		"41 s":                      {sign(header, claims("exp", seconds(41))), token.TooLongLived},
		"since 1970":                {sign(header, claims("iat", "0")), token.TooLongLived},
	} {
		i := issuer()
		for _, time := range []string{"first", "second", "third"} {
			if got := i.Check(now, test.token); got != test.want {
				t.Errorf("%s: %v the %s time, want %v", name, got, time, test.want)
			}
		}
	}
}

func TestImpossibleTimes(t *testing.T) {
	for _, c := range []string{claims("exp", "1e300"), claims("exp", "9e18", "iat", "9e18"), claims("iat", "-1e300"),
		claims("exp", "-9e18", "iat", "-9e18"), claims("nbf", "1e18")} {
		if got := issuer().Check(now, sign(header, c)); got == token.OK {
			t.Errorf("accepted %s", c)
		}
	}
}

// TestTimeGoesBy: a cached verdict ends when a fresh one would.
func TestTimeGoesBy(t *testing.T) {
	i := issuer()
	start := time.Unix(1_800_000_000, 0)
	early := mint(t, peerKey, peer, self, start.Add(15*time.Second))
	for after, want := range map[time.Duration]token.Reason{0: token.NotYetValid, 2 * time.Second: token.NotYetValid} {
		if got := i.Check(start.Add(after), early); got != want {
			t.Errorf("after %v: %v, want %v", after, got, want)
		}
	}
	for _, step := range []struct {
		after time.Duration
		want  token.Reason
	}{
		{6 * time.Second, token.OK}, {40 * time.Second, token.OK}, {55*time.Second - 1, token.OK},
		{55 * time.Second, token.Expired}, {time.Hour, token.Expired},
		{4 * time.Second, token.NotYetValid}, // the clock was set back
		{20 * time.Second, token.OK},
	} {
		// Refusals are repeated for a second: ask anew.
		if got := issuer().Check(start.Add(step.after), early); got != step.want {
			t.Errorf("fresh, after %v: %v, want %v", step.after, got, step.want)
		}
		if got := i.Check(start.Add(step.after), early); got != step.want {
			t.Errorf("cached, after %v: %v, want %v", step.after, got, step.want)
		}
	}
}

// TestFloodOfForgeries: most of them are not even looked at, none is accepted,
// the peer's known token goes on being accepted, and a new one gets its turn.
func TestFloodOfForgeries(t *testing.T) {
	i := issuer()
	good := mint(t, peerKey, peer, self, now)
	if got := i.Check(now, good); got != token.OK {
		t.Fatal(got)
	}
	forge := func(n int) string { // well-formed, each another signature
		sig := make([]byte, ed25519.SignatureSize)
		copy(sig, fmt.Sprint(n))
		return good[:strings.LastIndexByte(good, '.')+1] + base64.RawURLEncoding.EncodeToString(sig)
	}
	seen := map[token.Reason]int{}
	for n := range 5000 {
		seen[i.Check(now, forge(n))]++
		if n%100 == 0 && i.Check(now, good) != token.OK {
			t.Fatal("the known token was refused")
		}
	}
	if seen[token.OK] > 0 || seen[token.BadSignature] == 0 || seen[token.BadSignature] > 1100 || seen[token.Busy] < 3900 {
		t.Errorf("verdicts %v, want about 1000 signatures checked", seen)
	}
	renewed := mint(t, peerKey, peer, self, now.Add(-time.Second))
	if got := i.Check(now, renewed); got != token.Busy {
		t.Errorf("a new token in the flood: %v, want busy", got)
	}
	if got := i.Check(now.Add(2*time.Millisecond), renewed); got != token.OK {
		t.Errorf("a new token as soon as there is time: %v", got)
	}
}

func TestConcurrentChecks(t *testing.T) {
	i := issuer()
	var tokens [6]string
	for n := range tokens {
		tokens[n] = mint(t, peerKey, peer, self, now.Add(-time.Duration(n)*time.Second))
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for n := range 300 {
				if got := i.Check(now, tokens[n%len(tokens)]); got != token.OK && got != token.Busy {
					t.Errorf("%v", got)
				}
				i.Check(now, fmt.Sprint("bad", n))
			}
		})
	}
	all.Wait()
}

func TestMintRefuses(t *testing.T) {
	for name, mint := range map[string]func() (string, error){
		"too long":  func() (string, error) { return token.Mint(peerKey, peer, self, now, 31*time.Second) },
		"too short": func() (string, error) { return token.Mint(peerKey, peer, self, now, 0) },
		"no key":    func() (string, error) { return token.Mint(nil, peer, self, now, time.Second) },
	} {
		if s, err := mint(); err == nil {
			t.Errorf("%s: minted %s", name, s)
		}
	}
}

func TestReasonsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for r := range token.Reason(token.NumReasons) {
		if s := r.String(); s == "" || s == "unknown_reason" || seen[s] {
			t.Errorf("reason %d is called %q", r, s)
		}
		seen[r.String()] = true
	}
}

func TestHitsDoNotAllocate(t *testing.T) {
	i := issuer()
	good, bad := mint(t, peerKey, peer, self, now), mint(t, otherKey, peer, self, now)
	for name, s := range map[string]string{"accepted": good, "refused": bad, "missing": ""} {
		i.Check(now, s)
		if n := testing.AllocsPerRun(1000, func() { i.Check(now, s) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// FuzzCheck: of all that can be sent, only what was signed is accepted.
func FuzzCheck(f *testing.F) {
	good := mint(f, peerKey, peer, self, now)
	another := mint(f, otherKey, peer, self, now)
	for _, s := range []string{good, another, sign(`{"alg":"none"}`, claims()), hs256(f, []byte("x")), "a.b.c", ""} {
		f.Add(s)
	}
	i := issuer()
	f.Fuzz(func(t *testing.T, s string) {
		if i.Check(now, s) == token.OK && s != good {
			t.Errorf("accepted %q", s)
		}
	})
}

// FuzzSigned: nothing that a peer signs, however odd, makes the check fail
// otherwise than by refusing, or is accepted for another node.
func FuzzSigned(f *testing.F) {
	f.Add(header, claims())
	f.Add(header, claims("aud", `["`+other.String()+`"]`))
	f.Add(`{"alg":"EdDSA","alg":"EdDSA"}`, `{"exp":1e400,"iat":-1e308}`)
	v := token.NewVerifier(self)
	f.Fuzz(func(t *testing.T, header, claims string) {
		if issuerOf(v).Check(now, sign(header, claims)) != token.OK {
			return
		}
		var c struct {
			Iss string
			Aud jwt.ClaimStrings
			Exp float64
		}
		if err := json.Unmarshal([]byte(claims), &c); err != nil {
			t.Fatalf("accepted %s: %v", claims, err)
		}
		expires := time.Unix(int64(c.Exp), 0)
		if c.Iss != peer.String() || !slices.Equal(c.Aud, []string{self.String()}) || expires.Before(now.Add(-token.Leeway)) ||
			expires.After(now.Add(token.MaxLifetime+2*token.Leeway)) {
			t.Errorf("accepted %s", claims)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	i := issuer()
	good := mint(b, peerKey, peer, self, now)
	b.Run("hit", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			i.Check(now, good)
		}
	})
	b.Run("miss", func(b *testing.B) {
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			issuer().Check(now, good)
		}
	})
}
