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

// Valid reports whether s is NAME or NAME.NAMESPACE.
func Valid(s string) bool { return each(s, ValidLabel) }

// Check is Valid with an error that says what is wrong.
func Check(s string) error {
	if Valid(s) {
		return nil
	}
	return fmt.Errorf("%.140q is not NAME or NAME.NAMESPACE, each 1 to %d letters, digits, _ and inner dashes", s, MaxLabel)
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

// ValidFirst reports whether s is a name by the rules of the first version of
// gossip and table, which know lower-case DNS labels only: who speaks that version
// refuses a whole document with another name in it.
func ValidFirst(s string) bool { return each(s, validFirstLabel) }

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
