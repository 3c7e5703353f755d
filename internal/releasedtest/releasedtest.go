// Package releasedtest checks that what released programs wrote is still read, and
// that they find what they look for in what is written today.
package releasedtest

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/internal/strictjson"
)

// Check reads a document of a released program into the value that into points to.
// Each field of it must be known, and be written again as it was: released readers
// ignore what they do not know, and need all that they do.
func Check(t *testing.T, file string, into any) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := strictjson.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	again, err := json.Marshal(into)
	if err != nil {
		t.Fatal(err)
	}
	var was, is any
	if err := json.Unmarshal(data, &was); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(again, &is); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(was, common(was, is)); diff != "" {
		t.Errorf("%s is written differently (-released +now):\n%s", file, diff)
	}
}

// common returns what is, without the fields that were not there.
func common(was, is any) any {
	switch was := was.(type) {
	case map[string]any:
		now, ok := is.(map[string]any)
		if !ok {
			return is
		}
		kept := make(map[string]any)
		for name := range was {
			if v, there := now[name]; there {
				kept[name] = common(was[name], v)
			}
		}
		return kept
	case []any:
		now, ok := is.([]any)
		if !ok || len(now) != len(was) {
			return is
		}
		kept := make([]any, len(now))
		for i := range now {
			kept[i] = common(was[i], now[i])
		}
		return kept
	}
	return is
}
