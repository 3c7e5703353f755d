package agent

import (
	"strings"
	"testing"
)

func TestParseHeard(t *testing.T) {
	for text, want := range map[string]heard{
		"7 13": {mark: 7, room: 13}, "7 0": {mark: 7}, "2147483647 full": {mark: 2147483647, refused: true},
	} {
		if got, ok := parseHeard(text); !ok || got != want {
			t.Errorf("%q: %+v, %v", text, got, ok)
		}
	}
	for _, text := range []string{
		"", " ", "7", "7 ", " 13", "0 13", "-7 13", "7 -1", "+7 1", "7 +1", "7 13 ", "7  13", "7 1e3", "7 Full", "2147483648 1", "7 2147483648",
		"7 \x00", "x full", strings.Repeat("9", 100) + " 1",
	} {
		if got, ok := parseHeard(text); ok {
			t.Errorf("%q was read as %+v", text, got)
		}
	}
}

func FuzzParseHeard(f *testing.F) {
	f.Add("7 13")
	f.Add("7 full")
	f.Fuzz(func(t *testing.T, text string) {
		if h, ok := parseHeard(text); ok && (h.mark <= 0 || h.room < 0 || h.refused && h.room != 0) {
			t.Errorf("%q was read as %+v", text, h)
		}
	})
}
