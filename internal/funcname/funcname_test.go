package funcname

import (
	"strings"
	"testing"
)

func TestValid(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	for name, first := range map[string]bool{
		"a": true, "a-b": true, "0": true, "x.y": true, "a--b": true, label63 + "." + label63: true,
		"my_func": false, "MyFunc": false, "_": false, "A.B_c": false, "a.B": false, strings.Repeat("Z", 63): false,
	} {
		if err := Check(name); err != nil || !Valid(name) {
			t.Errorf("%q refused: %v", name, err)
		}
		if ValidFirst(name) != first {
			t.Errorf("%q: valid in the first version: %v", name, !first)
		}
	}
	for _, name := range []string{
		"", ".", "a.", ".a", "a.b.c", "-a", "a-", "a.-b", "a/b", "ä", "a b", "a\n", label63 + "a", "%61", "a.b-", "a\x00",
	} {
		if Check(name) == nil || Valid(name) || ValidFirst(name) {
			t.Errorf("%q accepted", name)
		}
	}
}
