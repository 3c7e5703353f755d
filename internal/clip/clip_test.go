package clip

import (
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for text, want := range map[string]string{
		"":                                "",
		x(80):                             x(80),
		x(81):                             x(80) + "...",
		x(79) + "é":                       x(79) + "...",
		x(78) + "é":                       x(78) + "é",
		x(78) + "éx":                      x(78) + "é...",
		x(77) + "😀":                       x(77) + "...",
		x(76) + "😀x":                      x(76) + "😀...",
		strings.Repeat("\x80", 90):        strings.Repeat("\x80", 76) + "...", // no characters at all
		strings.Repeat("é", 39) + "xxéé":  strings.Repeat("é", 39) + "xx...",
		strings.Repeat("é", 39) + "xééé":  strings.Repeat("é", 39) + "x...",
		strings.Repeat("\xff", 80) + "xx": strings.Repeat("\xff", 80) + "...",
	} {
		if got := Text(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
