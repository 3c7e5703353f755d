package agent

import (
	"strings"
	"testing"

	"github.com/dfaas/dfaas/internal/funcname"
)

func TestParseHeard(t *testing.T) {
	for text, want := range map[string]heard{
		"7 13": {mark: 7, room: 13}, "7 0": {mark: 7}, "2147483647 full": {mark: 2147483647, refused: true},
		"found f 1": {found: "f", number: 1}, "found my-f.ns 1795905471221": {found: "my-f.ns", number: 1795905471221},
	} {
		if got, ok := parseHeard(text); !ok || got != want {
			t.Errorf("%q: %+v, %v", text, got, ok)
		}
	}
	for _, text := range []string{
		"", " ", "7", "7 ", " 13", "0 13", "-7 13", "7 -1", "+7 1", "7 +1", "7 13 ", "7  13", "7 1e3", "7 Full", "2147483648 1", "7 2147483648",
		"7 \x00", "x full", "found", "found ", "found f", "found f ", "found f 0", "found f -1", "found f x", "found f 1 2",
		"found ../f 1", "found  1", "found " + strings.Repeat("f", 64) + " 1", "Found f 1", "found f 9223372036854775808", strings.Repeat("9", 100) + " 1",
	} {
		if got, ok := parseHeard(text); ok {
			t.Errorf("%q was read as %+v", text, got)
		}
	}
}

func FuzzParseHeard(f *testing.F) {
	f.Add("7 13")
	f.Add("7 full")
	f.Add("found f 17")
	f.Fuzz(func(t *testing.T, text string) {
		h, ok := parseHeard(text)
		if ok && h.found != "" && (h != heard{found: h.found, number: h.number} || h.number <= 0 || !funcname.Valid(h.found)) || ok && h.found == "" && (h.mark <= 0 || h.room < 0 || h.refused && h.room != 0) {
			t.Errorf("%q was read as %+v", text, h)
		}
	})
}
