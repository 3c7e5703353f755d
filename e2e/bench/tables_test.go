package bench

import (
	"encoding/json"
	"testing"

	"github.com/dfaas/dfaas/spoa/table"
)

// What the SPOA would refuse, it must not be asked to measure.
func TestTablesAreValid(t *testing.T) {
	made, err := newTable(manyFunctions, manyPeers)
	if err != nil {
		t.Fatal(err)
	}
	for _, away := range []bool{false, true} {
		v := variant(made, 7, away)
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > table.MaxBytes {
			t.Errorf("%d bytes long, %d are accepted", len(text), table.MaxBytes)
		}
		if _, err := v.Validate(table.Limits{}); err != nil {
			t.Error(err)
		}
		if local := v.Functions[0].Local != nil; v.Functions[0].Name.String() != benchFunction || local == away {
			t.Errorf("away %v, but %s is local: %v", away, v.Functions[0].Name, local)
		}
		if v.Version != 7 || len(v.Functions) != manyFunctions || len(v.Peers) != manyPeers {
			t.Errorf("version %d, %d functions, %d peers", v.Version, len(v.Functions), len(v.Peers))
		}
	}
	if made.Functions[0].Local == nil {
		t.Error("variant changed the table that it was given")
	}
}
