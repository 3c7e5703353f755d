// Package funcname says what names functions may have. It is the one place that
// does, for the gateway's list, gossip and the agent's table alike.
package funcname

import (
	"fmt"
	"strings"

	"github.com/dfaas/dfaas/internal/protocol"
)

const (
	// MaxLabel is the longest NAME and the longest NAMESPACE, in bytes.
	MaxLabel = 63
	// MaxLen is the longest NAME.NAMESPACE, in bytes.
	MaxLen = 2*MaxLabel + 1
)

// Name is the name of a function, NAME or NAME.NAMESPACE. There is no other than one
// that Parse accepts, and the zero value, which is no function's. Names are comparable,
// and ordered as their texts are.
type Name struct{ text string }

// Parse returns the name that is written like that, or an error that says what is
// wrong.
func Parse(text string) (Name, error) {
	if !Valid(text) {
		return Name{}, fmt.Errorf("%.140q is not NAME or NAME.NAMESPACE, each 1 to %d letters, digits, _ and inner dashes", text, MaxLabel)
	}
	return Name{text}, nil
}

// Valid reports whether Parse accepts a text, for those who do not keep it.
func Valid(text string) bool { return each(text, ValidLabel) }

// String returns the name as Parse reads it, "" for no function's.
func (n Name) String() string { return n.text }

// Namespace returns what is after the dot, and whether there is one.
func (n Name) Namespace() (namespace string, named bool) {
	_, namespace, named = strings.Cut(n.text, ".")
	return namespace, named
}

// Compare orders names by their texts: it returns -1, 0 or 1.
func (n Name) Compare(other Name) int { return strings.Compare(n.text, other.text) }

// InFirst reports whether it is a name by the rules of the first version of gossip and
// table, which know lower-case DNS labels only: who speaks that version refuses a whole
// document with another name in it.
func (n Name) InFirst() bool { return each(n.text, validFirstLabel) }

// MarshalText writes the name as Parse reads it.
func (n Name) MarshalText() ([]byte, error) { return []byte(n.text), nil }

// UnmarshalText is Parse.
func (n *Name) UnmarshalText(text []byte) (err error) {
	*n, err = Parse(string(text))
	return err
}

// ValidLabel reports whether s can be a NAME or a NAMESPACE.
func ValidLabel(s string) bool {
	if protocol.Previous {
		return validFirstLabel(s)
	}
	return bounded(s) && !strings.ContainsFunc(s, func(c rune) bool {
		return !(c >= 'A' && c <= 'Z' || c == '_' || narrow(c))
	})
}

func validFirstLabel(s string) bool {
	return bounded(s) && !strings.ContainsFunc(s, func(c rune) bool { return !narrow(c) })
}

func narrow(c rune) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' }

func bounded(s string) bool {
	return s != "" && len(s) <= MaxLabel && s[0] != '-' && s[len(s)-1] != '-'
}

func each(s string, label func(string) bool) bool {
	name, namespace, dotted := strings.Cut(s, ".")
	return label(name) && (!dotted || label(namespace))
}
