package grant

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/spoa/table"
)

func TestDecode(t *testing.T) {
	got, err := Decode([]byte(`{"run":"7-1","counted":{"f":1,"f.ns":4294967295},"newer":{}}`))
	if diff := cmp.Diff(Report{Run: "7-1", Counted: map[string]uint32{"f": 1, "f.ns": 1<<32 - 1}}, got); err != nil || diff != "" {
		t.Errorf("%v, differs (-want +got):\n%s", err, diff)
	}
	many := make(map[string]uint32)
	for i := range table.MaxFunctions + 1 {
		many[fmt.Sprintf("f%d", i)] = 1
	}
	tooMany, err := json.Marshal(Report{Run: "1", Counted: many})
	if err != nil {
		t.Fatal(err)
	}
	for document, want := range map[string]string{
		`{"counted":{}}`: "run: 1 to 64 bytes", `{"run":"` + strings.Repeat("x", 65) + `"}`: "run: 1 to 64 bytes",
		`{"run":"1","counted":{"f":-1}}`: "counters", `{"run":"1","counted":{"f":4294967296}}`: "counters",
		`{"run":"1","counted":{"a b":1}}`: "is not NAME", ``: "counters", `[]`: "counters",
		string(tooMany): "at most 4096 functions", strings.Repeat(" ", MaxBytes+1): "more than",
	} {
		if _, err := Decode([]byte(document)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %q", document, err, want)
		}
	}
}

// FuzzDecode: what is accepted is within bounds, and says the same once more.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"run":"7-1","counted":{"f":1,"f.ns":4294967295}}`))
	f.Add([]byte(`{"run":"","counted":null}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		r, err := Decode(document)
		if err != nil {
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if r2, err := Decode(again); err != nil || !cmp.Equal(r, r2) {
			t.Errorf("%v: %s", err, cmp.Diff(r, r2))
		}
	})
}
