package table_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/peerid"
	"github.com/dfaas/dfaas/spoa/table"
)

// d972c02 is the table as the release of that commit reads it, which refuses
// every field that is not here, and every table with another name than a
// lower-case DNS label or two in it. It stays as it is.
type d972c02 struct {
	Version           uint64 `json:"version"`
	NodeID            string `json:"node_id"`
	TTLMillis         int64  `json:"ttl_ms"`
	PeerTLS           bool   `json:"peer_tls,omitempty"`
	UnknownLocal      bool   `json:"unknown_local,omitempty"`
	DefaultNamespace  string `json:"default_namespace,omitempty"`
	ClockOffsetMillis int64  `json:"clock_offset_ms,omitempty"`
	Functions         []struct {
		Name  string `json:"name"`
		Local *struct {
			Rate          float64 `json:"rate"`
			Soft          bool    `json:"soft,omitempty"`
			Share         float64 `json:"share"`
			TimeoutMillis int64   `json:"timeout_ms,omitempty"`
		} `json:"local,omitempty"`
		Forward []struct {
			Peer          string  `json:"peer"`
			Weight        float64 `json:"weight"`
			Rate          float64 `json:"rate"`
			TimeoutMillis int64   `json:"timeout_ms,omitempty"`
		} `json:"forward,omitempty"`
	} `json:"functions"`
	Peers []struct {
		ID      string             `json:"id"`
		Token   string             `json:"token,omitempty"`
		Inbound map[string]float64 `json:"inbound,omitempty"`
	} `json:"peers"`
}

func strict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// TestReleasedTables reads what released controllers have sent.
func TestReleasedTables(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.json")
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tab, unknown, err := table.Decode(data)
		if err != nil || unknown != "" {
			t.Errorf("%s: unknown field %q, %v", file, unknown, err)
			continue
		}
		again, err := table.Encode(tab.Table, 1)
		if err != nil {
			t.Fatal(err)
		}
		var sent, back d972c02
		if err := errors.Join(strict(data, &sent), strict(again, &back)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(sent, back, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: written differently (-want +got):\n%s", file, diff)
		}
	}
}

// TestTableForReleased: what is written for a SPOA that names no version is what
// the first release reads, whatever the table of today has.
func TestTableForReleased(t *testing.T) {
	testvalue.SkipPrevious(t, "it knows lower-case names only")
	tab := testtable.New(3, 2)
	tab.Speaks, tab.Needs = table.Newest(), table.Oldest
	tab.Functions[0].Name, tab.Functions[1].Name = testvalue.Name("MyFunc"), testvalue.Name("my_func.x")
	tab.Queue, tab.Functions[2].Async = table.QueueNone, []peerid.ID{testtable.ID(1)}
	for i := range tab.Peers {
		for f, rate := range []float64{1, 1, 2} {
			tab.Functions[f].Admit[i].Rate = testvalue.Bound(rate)
		}
	}
	checkVersion(t, tab, 0)
	data, err := table.Encode(tab, 1)
	if err != nil {
		t.Fatal(err)
	}
	var old d972c02
	if err := strict(data, &old); err != nil {
		t.Fatal(err)
	}
	if len(old.Functions) != 1 || old.Functions[0].Name != "f2" || len(old.Functions[0].Forward) != 2 ||
		!cmp.Equal(old.Peers[1].Inbound, map[string]float64{"f2": 2}) || old.Functions[0].Local.Rate != 10 {
		t.Errorf("the first release reads %+v", old)
	}
}

// checkVersion asserts that a valid table, written for a SPOA of that version, is
// read by it, and without loss by one of today.
func checkVersion(t *testing.T, tab *table.Table, version int) {
	t.Helper()
	data, err := table.Encode(tab, version)
	if err != nil {
		t.Fatal(err)
	}
	got, unknown, err := table.Decode(data)
	if err != nil || unknown != "" {
		t.Fatalf("version %d is refused: %q, %v", version, unknown, err)
	}
	if version >= table.Newest() {
		got.Speaks, got.Needs = tab.Speaks, tab.Needs
		if !bytes.Equal(encode(t, tab), encode(t, got.Table)) {
			t.Errorf("version %d differs:\n%s", version, encode(t, got.Table))
		}
		return
	}
	var old d972c02
	if err := strict(data, &old); err != nil {
		t.Errorf("the first release refuses version %d: %v", version, err)
	}
	for _, f := range old.Functions {
		if !inFirst(f.Name) {
			t.Errorf("the first release refuses function %q", f.Name)
		}
	}
	for _, p := range old.Peers {
		for name := range p.Inbound {
			if !inFirst(name) || !slices.ContainsFunc(tab.Peers, func(q table.Peer) bool { return q.ID.String() == p.ID }) {
				t.Errorf("the first release refuses %q", name)
			}
		}
	}
}

// inFirst reports whether the first version knows such names.
func inFirst(text string) bool {
	name, err := funcname.Parse(text)
	return err == nil && name.InFirst()
}
