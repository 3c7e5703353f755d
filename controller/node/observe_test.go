package node

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/spoa/meter"
)

func report(start, uptimeMillis int64, functions ...meter.Function) *meter.Report {
	return &meter.Report{StartMillis: start, UptimeMicros: uptimeMillis * 1000, Functions: functions}
}

func TestDifference(t *testing.T) {
	before := report(1, 10_000, meter.Function{
		Name: "f", User: meter.User{Local: 100, Forwarded: 10, Limited: 5, Full: 1},
		In: map[string]meter.Peer{"a": {Local: 7, Limited: 3}}, Out: map[string]uint64{"a": 10},
	})
	grown := meter.Function{
		Name: "f", User: meter.User{Local: 150, Forwarded: 30, Limited: 8, Full: 2},
		In: map[string]meter.Peer{"a": {Local: 9, Limited: 30}, "b": {Local: 4}}, Out: map[string]uint64{"a": 10, "b": 20},
	}
	inF := counts{user: 74, refused: 4, in: map[string]uint64{"a": 2, "b": 4}, asked: map[string]uint64{"a": 29, "b": 4}, out: map[string]uint64{"b": 20}}
	whole := counts{
		user: 190, refused: 10, in: map[string]uint64{"a": 9, "b": 4}, asked: map[string]uint64{"a": 39, "b": 4},
		out: map[string]uint64{"a": 10, "b": 20},
	}
	for _, tc := range []struct {
		name        string
		before, now *meter.Report
		want        sample
		ok          bool
	}{
		{"first report", nil, report(1, 10_000, grown), sample{}, false},
		{"same moment", before, report(1, 10_005, grown), sample{}, false},
		{"clock backwards", before, report(1, 9_000, grown), sample{}, false},
		{"half a second", before, report(1, 10_500, grown), sample{0.5, map[string]counts{"f": inF}}, true},
		{"restarted", before, report(2, 250, grown), sample{0.25, map[string]counts{"f": whole}}, true},
		{"just restarted", before, report(2, 1, grown), sample{}, false},
		{"new function", report(1, 9_000), report(1, 10_000, grown), sample{1, map[string]counts{"f": whole}}, true},
		{"counters shrunk", report(1, 9_000, grown), report(1, 10_000, before.Functions...), sample{1, map[string]counts{"f": {}}}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, ok := difference(tc.before, tc.now)
			if ok != tc.ok {
				t.Fatalf("ok is %v", ok)
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(sample{}, counts{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
