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
		text, err := document(made, 7, away)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > table.MaxBytes {
			t.Errorf("%d bytes long, %d are accepted", len(text), table.MaxBytes)
		}
		var read table.Table
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatal(err)
		}
		if err := read.Validate(); err != nil {
			t.Error(err)
		}
		if local := read.Functions[0].Local != nil; read.Functions[0].Name != benchFunction || local == away {
			t.Errorf("away %v, but %s is local: %v", away, read.Functions[0].Name, local)
		}
		if read.Version != 7 || len(read.Functions) != manyFunctions || len(read.Peers) != manyPeers {
			t.Errorf("version %d, %d functions, %d peers", read.Version, len(read.Functions), len(read.Peers))
		}
	}
	if made.Functions[0].Local == nil {
		t.Error("document changed the table that it was given")
	}
}
