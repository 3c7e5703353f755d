package funcname

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/dfaas/dfaas/internal/protocol"
)

func TestParse(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	for text, first := range map[string]bool{
		"a": true, "a-b": true, "0": true, "x.y": true, "a--b": true, label63 + "." + label63: true,
		"my_func": false, "MyFunc": false, "_": false, "A.B_c": false, "a.B": false, strings.Repeat("Z", 63): false,
	} {
		name, err := Parse(text)
		if protocol.Previous && !first {
			if err == nil {
				t.Errorf("the previous version accepts %q", text)
			}
			continue
		}
		if err != nil || name.String() != text {
			t.Errorf("%q is read as %q, %v", text, name, err)
		}
		if name.InFirst() != first {
			t.Errorf("%q: valid in the first version: %v", text, !first)
		}
	}
	for _, text := range []string{
		"", ".", "a.", ".a", "a.b.c", "-a", "a-", "a.-b", "a/b", "ä", "a b", "a\n", label63 + "a", "%61", "a.b-", "a\x00",
	} {
		if name, err := Parse(text); err == nil || name != (Name{}) || !strings.Contains(err.Error(), "is not NAME or NAME.NAMESPACE") {
			t.Errorf("%q accepted: %q, %v", text, name, err)
		}
	}
}

// TestText: a name is checked when it is read from JSON, and is what was written.
func TestText(t *testing.T) {
	var back map[Name]Name
	if err := json.Unmarshal([]byte(`{"a.b":"my-func"}`), &back); err != nil {
		t.Fatal(err)
	}
	if data, err := json.Marshal(back); err != nil || string(data) != `{"a.b":"my-func"}` {
		t.Errorf("written again: %s, %v", data, err)
	}
	for _, bad := range []string{`""`, `"a/b"`} {
		if err := json.Unmarshal([]byte(bad), new(Name)); err == nil {
			t.Errorf("%s accepted", bad)
		}
	}
}

func TestNamespaceAndOrder(t *testing.T) {
	bare, long := Name{"f"}, Name{"f.ns"}
	if namespace, named := long.Namespace(); namespace != "ns" || !named {
		t.Errorf("the namespace of %s: %q, %v", long, namespace, named)
	}
	if namespace, named := bare.Namespace(); namespace != "" || named {
		t.Errorf("the namespace of %s: %q, %v", bare, namespace, named)
	}
	if bare.Compare(long) != -1 || long.Compare(bare) != 1 || bare.Compare(bare) != 0 {
		t.Errorf("%s and %s are not in the order of their texts", bare, long)
	}
}
