package table_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/peerid"
	"github.com/dfaas/dfaas/spoa/table"
)

func encode(t testing.TB, tab *table.Table) []byte {
	t.Helper()
	data, err := json.Marshal(tab)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestDecode(t *testing.T) {
	want := testtable.New(3, 2)
	want.DefaultNamespace, want.UnknownLocal = "openfaas-fn", true
	want.Functions[0].Name = testvalue.Name("f0.other")
	want.Functions[1].Local = &table.Local{Rate: limit.Unlimited(), Soft: true, Share: 0.25, TimeoutMillis: 3_600_000}
	want.Functions[2].Forward[1].TimeoutMillis = 3_600_000
	want.Functions[2].Elastic, want.Functions[2].Unmet = true, 0.25
	got, unknown, err := table.Decode(encode(t, want))
	if err != nil || unknown != "" {
		t.Fatal(unknown, err)
	}
	if diff := cmp.Diff(want, got.Table, testvalue.Comparable()); diff != "" {
		t.Errorf("table differs (-want +got):\n%s", diff)
	}
}

func TestDecodeRefuses(t *testing.T) {
	testvalue.SkipPrevious(t, "it says otherwise what it refuses")
	good := string(encode(t, testtable.New(1, 1)))
	replace := func(old, with string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the table has no %s: %s", old, good)
		}
		return strings.Replace(good, old, with, 1)
	}
	for why, doc := range map[string]string{
		"at most":                strings.Repeat(" ", table.MaxBytes) + good,
		"cut short":              good[:len(good)-1],
		"after the end":          good + "{}",
		"version: must be":       replace(`"version"`, `"surprise"`),
		"it is written":          replace(`"version"`, `"Version"`),
		"upgrade dfaas-spoa":     replace(`"version"`, `"speaks":9,"needs":9,"version"`),
		"version 3 that needs 4": replace(`"version"`, `"speaks":3,"needs":4,"version"`),
		"version 2 that needs 0": replace(`"version"`, `"speaks":2,"version"`),
		"twice":                  replace(`"version":1`, `"version":1,"version":2`),
		`field "version"`:        replace(`"version":1`, `"version":-1`),
		"ttl_ms":                 replace(`"ttl_ms":60000`, `"ttl_ms":0`),
		`functions: number 1: field "local.rate"`: replace(`"rate":10`, `"rate":"10"`),
		"version: must": "null",
		`table: node_id: "12D3KooW": not an Ed25519`:                                 replace(testtable.ID(0).String(), "12D3KooW"),
		`peer number 1: id: "12D3KooW": not an`:                                      replace(`"id":"`+testtable.ID(1).String(), `"id":"12D3KooW`),
		`function number 1: name: "f/../0" is not`:                                   replace(`"name":"f0"`, `"name":"f/../0"`),
		`function number 1: f0: forward: peer: "x`:                                   replace(`"peer":"`+testtable.ID(1).String(), `"peer":"x`),
		`function number 1: f0: async: "x": not an`:                                  replace(`"forward":`, `"async":["x"],"forward":`),
		`inbound: "f-" is not NAME`:                                                  replace(`"f0":10}`, `"f-":10}`),
		`inbound: f1: 1e+07 is not within`:                                           replace(`"f0":10}`, `"f1":1e7}`),
		`inbound: f0: -3 is not within 0 and 1e+06 requests/s, nor -1 for unlimited`: replace(`"f0":10}`, `"f0":-3}`),
		`function number 1: f0: local: rate: -2 is not within`:                       replace(`"local":{"rate":10`, `"local":{"rate":-2`),
		`local: rate: 1.000001e+06 is not within`:                                    replace(`"local":{"rate":10`, `"local":{"rate":1000001`),
		`f0: forward: ` + testtable.ID(1).String() + `: rate: -0.5 is not within`:    replace(`"weight":1,"rate":10`, `"weight":1,"rate":-0.5`),
		`f0: forward: ` + testtable.ID(1).String() + `: spare: -1 is not within`:     replace(`"weight":1,"rate":10`, `"weight":1,"rate":10,"spare":-1`),
		"needs: version 8":                         strings.Replace(replace(`"version"`, `"speaks":9,"needs":8,"version"`), `"rate":10`, `"rate":1e9`, 1),
		`inbound: f1.ns: functions of the default`: replace(`"f0":10}}]`, `"f1.ns":1}}],"default_namespace":"ns"`),
	} {
		if _, _, err := table.Decode([]byte(doc)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("error %v, want one with %s", err, why)
		}
	}
}

func validate(tab *table.Table) error {
	_, err := tab.Validate(table.Limits{})
	return err
}

// TestValidateNamesTheCulprit changes one thing each of a valid table.
func TestValidateNamesTheCulprit(t *testing.T) {
	id := testtable.ID
	type tab = table.Table
	for want, change := range map[string]func(*tab){
		"version":                                                    func(t *tab) { t.Version = 0 },
		"node_id: is missing":                                        func(t *tab) { t.NodeID = peerid.ID{} },
		"ttl_ms: 86400001":                                           func(t *tab) { t.TTLMillis = 86_400_001 },
		"clock_offset_ms: 3153600000001":                             func(t *tab) { t.ClockOffsetMillis = table.MaxClockOffset.Milliseconds() + 1 },
		"clock_offset_ms: -9223372036854775808":                      func(t *tab) { t.ClockOffsetMillis = math.MinInt64 },
		"default_namespace":                                          func(t *tab) { t.DefaultNamespace = "a.b" },
		"functions: 4097":                                            func(t *tab) { t.Functions = make([]table.Function, 4097) },
		"peers: 513":                                                 func(t *tab) { t.Peers = make([]table.Peer, 513) },
		"peer number 2: id: is missing":                              func(t *tab) { t.Peers[1].ID = peerid.ID{} },
		id(1).String() + ": id: listed":                              func(t *tab) { t.Peers[1].ID = id(1) },
		id(0).String() + ": id: is this":                             func(t *tab) { t.Peers[1].ID = id(0) },
		id(2).String() + ": token: 1025":                             func(t *tab) { t.Peers[1].Token = strings.Repeat("x", 1025) },
		id(2).String() + ": token: has":                              func(t *tab) { t.Peers[1].Token = "x\r\nHost: y" },
		id(2).String() + ": source: 65":                              func(t *tab) { t.Peers[1].Source = strings.Repeat("x", 65) },
		"function f0: admit: peer":                                   func(t *tab) { t.Functions[0].Admit[1].Peer = id(3) },
		"function f0: admit: " + id(1).String() + ": peer: listed":   func(t *tab) { t.Functions[0].Admit[1].Peer = id(1) },
		"function number 2: name: is missing":                        func(t *tab) { t.Functions[1].Name = funcname.Name{} },
		"function f0: name: listed":                                  func(t *tab) { t.Functions[1].Name = testvalue.Name("f0") },
		"function f1.main: name: functions of":                       func(t *tab) { t.DefaultNamespace, t.Functions[1].Name = "main", testvalue.Name("f1.main") },
		"function f1: local: share: 1.5":                             func(t *tab) { t.Functions[1].Local.Share = 1.5 },
		"function f1: local: share: NaN":                             func(t *tab) { t.Functions[1].Local.Share = math.NaN() },
		"function f1: local: timeout_ms: -1":                         func(t *tab) { t.Functions[1].Local.TimeoutMillis = -1 },
		"function f1: local: timeout_ms: 3600001":                    func(t *tab) { t.Functions[1].Local.TimeoutMillis = 3_600_001 },
		"function f1: unmet: 1.05":                                   func(t *tab) { t.Functions[1].Unmet = 1.05 },
		"function f1: unmet: NaN":                                    func(t *tab) { t.Functions[1].Unmet = math.NaN() },
		"function f0: forward: peer":                                 func(t *tab) { t.Functions[0].Forward[1].Peer = id(3) },
		"function f0: forward: " + id(1).String() + ": peer: listed": func(t *tab) { t.Functions[0].Forward[1].Peer = id(1) },
		"function f0: forward: " + id(2).String() + ": weight: -1":   func(t *tab) { t.Functions[0].Forward[1].Weight = -1 },
		"function f0: forward: " + id(2).String() + ": weight: NaN":  func(t *tab) { t.Functions[0].Forward[1].Weight = math.NaN() },
		"function f0: forward: " + id(2).String() + ": weight: +Inf": func(t *tab) { t.Functions[0].Forward[1].Weight = math.Inf(1) },
		"forward: " + id(2).String() + ": timeout_ms: -1":            func(t *tab) { t.Functions[0].Forward[1].TimeoutMillis = -1 },
		"forward: " + id(2).String() + ": timeout_ms: 3600001":       func(t *tab) { t.Functions[0].Forward[1].TimeoutMillis = 3_600_001 },
	} {
		tab := testtable.New(2, 2)
		if err := validate(tab); err != nil {
			t.Fatalf("the table is not valid to begin with: %v", err)
		}
		change(tab)
		if err := validate(tab); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func TestTooManyEntries(t *testing.T) {
	tab := testtable.New(0, 512)
	for f := range 513 {
		fn := table.Function{Name: testvalue.Name(fmt.Sprintf("f%d", f))}
		for i := range tab.Peers {
			fn.Forward = append(fn.Forward, table.Forward{Peer: tab.Peers[i].ID})
		}
		tab.Functions = append(tab.Functions, fn)
	}
	if err := validate(tab); err == nil || !strings.Contains(err.Error(), "function f512: forward: over 262144") {
		t.Errorf("error %v for 513 * 512 forwards", err)
	}
	tab.Functions = tab.Functions[:512]
	if err := validate(tab); err != nil {
		t.Errorf("512 * 512 forwards: %v", err)
	}
	for f := range 513 {
		if f == len(tab.Functions) {
			tab.Functions = append(tab.Functions, table.Function{Name: testvalue.Name(fmt.Sprintf("f%d", f))})
		}
		for i := range tab.Peers {
			tab.Functions[f].Admit = append(tab.Functions[f].Admit, table.Admission{Peer: tab.Peers[i].ID, Rate: testvalue.Bound(1)})
		}
	}
	if err := validate(tab); err == nil || !strings.Contains(err.Error(), "function f512: admit: over 262144") {
		t.Errorf("error %v for 513 * 512 admissions", err)
	}
	if v, err := tab.Validate(table.Limits{Functions: 513, Forwards: 513 * 512}); err != nil || v.Limits.Peers != table.MaxPeers {
		t.Errorf("with limits for it: %+v, %v", v.Limits, err)
	}
}

// TestNewerTable: a controller that is newer may send fields that this SPOA does
// not know, and functions named by the rules of today.
func TestNewerTable(t *testing.T) {
	testvalue.SkipPrevious(t, "it refuses what it does not know")
	tab := testtable.New(2, 1)
	tab.Functions[0].Name, tab.Functions[1].Name = testvalue.Name("MyFunc"), testvalue.Name("my_func")
	tab.Functions[0].Admit[0].Rate, tab.Functions[1].Admit[0].Rate = testvalue.Bound(1), testvalue.Bound(2)
	doc := strings.Replace(string(encode(t, tab)), `"version":1`, `"speaks":9,"needs":2,"version":1,"color":{"Red":[1,{}]}`, 1)
	doc = strings.Replace(doc, `"local":{`, `"local":{"later":null,`, 1)
	got, unknown, err := table.Decode([]byte(doc))
	if err != nil || unknown != "color" {
		t.Fatalf("unknown %q, %v", unknown, err)
	}
	tab.Speaks, tab.Needs = 9, 2
	if diff := cmp.Diff(tab, got.Table, testvalue.Comparable()); diff != "" {
		t.Error(diff)
	}
}

// FuzzDecode: whatever is accepted is within the bounds, and survives being
// written and read again; whatever is refused is refused in one short line.
func FuzzDecode(f *testing.F) {
	testvalue.SkipPrevious(f, "it knows lower-case names only")
	full := testtable.New(2, 2)
	full.DefaultNamespace = "main"
	full.Functions[0].Local.TimeoutMillis, full.Functions[0].Forward[0].TimeoutMillis = 2000, 300_000
	f.Add(encode(f, full))
	f.Add(encode(f, testtable.New(0, 0)))
	full.Functions[1].Name, full.Functions[1].Local = testvalue.Name("My_Func.Name_Space"), nil
	current, err := table.Encode(full, table.Newest())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(current)
	f.Add(bytes.Replace(current, []byte(`"speaks":2`), []byte(`"speaks":5,"later":[{"Z":{}}]`), 1))
	f.Add([]byte(`{"version":1,"node_id":"x","ttl_ms":1,"functions":null,"peers":[{"id":"y","inbound":{"a":-1}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tab, _, err := table.Decode(data)
		if err != nil {
			if tab.Table != nil || len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("refused with %+v, %q", tab, err)
			}
			return
		}
		if err := validate(tab.Table); err != nil || len(tab.Functions) > table.MaxFunctions || len(tab.Peers) > table.MaxPeers ||
			tab.TTL() <= 0 || tab.TTL() > table.MaxTTL {
			t.Errorf("accepted out of bounds: %v, %s", err, encode(t, tab.Table))
		}
		again, _, err := table.Decode(encode(t, tab.Table))
		if err != nil {
			t.Fatalf("accepted, but not again: %v", err)
		}
		if diff := cmp.Diff(encode(t, tab.Table), encode(t, again.Table)); diff != "" {
			t.Errorf("read differently the second time:\n%s", diff)
		}
		for _, version := range []int{0, 1, 2, 3} {
			checkVersion(t, tab.Table, version)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	data := encode(b, testtable.New(1000, 100))
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, _, err := table.Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}

// TestReadPauses: after each function and peer that is read, and each that is looked at.
func TestReadPauses(t *testing.T) {
	pauses := 0
	if _, _, err := table.Read(bytes.NewReader(encode(t, testtable.New(7, 5))), func() { pauses++ }); err != nil || pauses != 7+5+7 {
		t.Errorf("%d pauses, %v", pauses, err)
	}
}

// TestInboundNames: what has been read piece by piece is refused as it always was.
func TestInboundNames(t *testing.T) {
	good := string(encode(t, testtable.New(1, 1)))
	for with, why := range map[string]string{
		`"inbound":{"f0":10,"f0":1}`:           "twice",
		`"inbound":{"f\u0030":10}`:             "is not a name",
		`"inbound":{"f\"0":10}`:                "is not a name",
		`"inbound":{"f0":"10"}`:                "is not a number",
		`"inbound":{"f0":[1]}`:                 "is not a number",
		`"inbound":{"f0":1e999}`:               "is not a number",
		`"inbound":[]`:                         "is not an object",
		`"inbound":{"F!":1}`:                   "letters, digits",
		`"inbound":{"f0":-3}`:                  "-3 is not",
		`"inbound":{"f0.main":3,"f0":1}`:       "",
		`"inbound": { "f0" : 1 , "f1" :null }`: "",
		`"inbound":null`:                       "",
		`"inbound":{}`:                         "",
	} {
		_, _, err := table.Decode([]byte(strings.Replace(good, `"inbound":{"f0":10}`, with, 1)))
		if why == "" && err != nil || why != "" && (err == nil || !strings.Contains(err.Error(), why)) {
			t.Errorf("%s: error %v, want one with %q", with, err, why)
		}
	}
}
