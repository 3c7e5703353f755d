package meter

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/spoa/token"
)

var start = time.UnixMilli(1_800_000_000_000)

func TestReport(t *testing.T) {
	m := New(start)
	b, a := m.Row("b"), m.Row("a")
	a.Local.Add(3)
	a.Forwarded.Add(2)
	a.Limited.Add(1)
	a.Full.Add(4)
	a.Returned.Local.Add(1)
	a.Returned.Limited.Add(1)
	a.Out("p1").Forwarded.Add(2)
	a.Out("p2")
	b.In("p1").Local.Add(5)
	b.In("p1").Limited.Add(6)
	b.In("p2")
	m.Deny(token.Expired)
	m.Deny(token.Expired)
	m.NotFound()
	m.Open()
	want := Report{
		StartMillis:  1_800_000_000_000,
		NowMillis:    1_800_000_001_500,
		UptimeMicros: 1_500_000,
		Functions: []Function{
			{Name: "a", User: User{Local: 3, Forwarded: 2, Limited: 1, Full: 4}, Returned: &User{Local: 1, Limited: 1}, Out: map[string]uint64{"p1": 2}},
			{Name: "b", In: map[string]Peer{"p1": {Local: 5, Limited: 6}}},
		},
		Denied:   map[string]uint64{"expired": 2},
		NotFound: 1,
	}
	got := m.Report(start.Add(1500 * time.Millisecond))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("report differs (-want +got):\n%s", diff)
	}
	if a.Outcomes.read().Total() != 10 {
		t.Errorf("total %d, want 10", a.Outcomes.read().Total())
	}
	totals := m.Totals()
	if diff := cmp.Diff(User{Local: 3, Forwarded: 2, Limited: 1, Full: 4}, totals.User); diff != "" {
		t.Errorf("totals differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(User{Local: 1, Limited: 1}, totals.Returned); diff != "" {
		t.Errorf("totals of what returned differ (-want +got):\n%s", diff)
	}
	if totals.Peer != (Peer{5, 6}) || totals.NotFound != 1 || totals.Open != 1 || totals.Denied[token.Expired] != 2 {
		t.Errorf("totals %+v", totals)
	}
}

func TestCountersAreTheSameEachTime(t *testing.T) {
	m := New(start)
	r := m.Row("f")
	if m.Row("f") != r || r.In("p") != r.In("p") || r.Out("p") != r.Out("p") || r.In("p") == r.In("q") {
		t.Error("counters change from call to call")
	}
	if m.Size() != 4 {
		t.Errorf("size %d, want 4: f, in p, in q, out p", m.Size())
	}
}

// TestForget drops a function and a peer; totals never shrink.
func TestForget(t *testing.T) {
	m := New(start)
	for _, f := range []string{"keep", "drop"} {
		for _, p := range []string{"keep", "drop"} {
			r := m.Row(f)
			r.Local.Add(1)
			r.In(p).Local.Add(1)
			r.Out(p).Forwarded.Add(1)
			r.Forwarded.Add(1)
		}
	}
	before := m.Totals()
	m.Forget(func(name string) bool { return name == "keep" }, func(id string) bool { return id == "keep" })
	if diff := cmp.Diff(before, m.Totals()); diff != "" {
		t.Errorf("totals changed (-want +got):\n%s", diff)
	}
	want := []Function{{
		Name: "keep", User: User{Local: 2, Forwarded: 2}, In: map[string]Peer{"keep": {Local: 1}}, Out: map[string]uint64{"keep": 1},
	}}
	if diff := cmp.Diff(want, m.Report(start).Functions); diff != "" {
		t.Errorf("what is left differs (-want +got):\n%s", diff)
	}
	if m.Size() != 3 {
		t.Errorf("size %d, want 3", m.Size())
	}
}

func TestEmptyReportHasLists(t *testing.T) {
	b, err := json.Marshal(New(start).Report(start))
	want := `{"start_ms":1800000000000,"now_ms":1800000000000,"uptime_us":0,"table_version":0,"table_fresh":false,` +
		`"functions":[],"denied":{},"not_found":0}`
	if err != nil || string(b) != want {
		t.Errorf("%s, %v, want %s", b, err, want)
	}
}
