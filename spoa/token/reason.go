// Package token makes and checks what proves that a forwarded request comes
// from the peer it claims to come from: a short-lived JWT, signed with the
// peer's Ed25519 key (EdDSA), whose public half is contained in its peer id.
package token

// Reason is why a claim to be a peer was refused. The zero value means that it
// was not.
type Reason uint8

const (
	OK            Reason = iota
	UnknownPeer          // the id is none of the federation's
	MissingToken         // no token, or an empty one
	Malformed            // no JWT, over-long, claims missing or given twice
	BadAlgorithm         // signed with anything but EdDSA
	BadSignature         // not signed by the peer it names
	WrongIssuer          // iss is not the claimed peer
	WrongAudience        // aud is not exactly this node
	Expired              // exp has passed
	NotYetValid          // iat or nbf is still to come
	TooLongLived         // exp - iat is over MaxLifetime and Leeway
	Busy                 // too many tokens of unknown worth at once; this one was not checked
	Ambiguous            // more than one id or token in one request
	NotOverTLS           // it did not come with the peer's certificate, and must
	numReasons
)

// NumReasons is the number of reasons, OK included: valid indices are below it.
const NumReasons = int(numReasons)

var reasonNames = [NumReasons]string{
	"ok", "unknown_peer", "missing_token", "malformed", "bad_algorithm", "bad_signature", "wrong_issuer",
	"wrong_audience", "expired", "not_yet_valid", "too_long_lived", "busy",
	"ambiguous", "not_over_tls",
}

// String returns the name used in reports and metrics, such as "bad_signature".
func (r Reason) String() string {
	if int(r) < NumReasons {
		return reasonNames[r]
	}
	return "unknown_reason"
}
