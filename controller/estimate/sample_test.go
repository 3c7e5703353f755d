package estimate

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
		Name: "f", User: meter.User{Local: 150, Forwarded: 30, Limited: 8, Full: 2}, Returned: &meter.User{Local: 6, Forwarded: 3, Limited: 1, Full: 1},
		In: map[string]meter.Peer{"a": {Local: 9, Limited: 30}, "b": {Local: 4}}, Out: map[string]uint64{"a": 10, "b": 20},
	}
	inF := Counts{User: 74, Here: 56, Refused: 6, In: map[string]uint64{"a": 2, "b": 4}, Asked: map[string]uint64{"a": 29, "b": 4}, Out: map[string]uint64{"b": 20}}
	whole := Counts{
		User: 190, Here: 156, Refused: 12, In: map[string]uint64{"a": 9, "b": 4}, Asked: map[string]uint64{"a": 39, "b": 4},
		Out: map[string]uint64{"a": 10, "b": 20},
	}
	for _, tc := range []struct {
		name        string
		before, now *meter.Report
		want        Sample
		ok          bool
	}{
		{"first report", nil, report(1, 10_000, grown), Sample{}, false},
		{"same moment", before, report(1, 10_005, grown), Sample{}, false},
		{"clock backwards", before, report(1, 9_000, grown), Sample{}, false},
		{"half a second", before, report(1, 10_500, grown), Sample{0.5, map[string]Counts{"f": inF}}, true},
		{"restarted", before, report(2, 250, grown), Sample{0.25, map[string]Counts{"f": whole}}, true},
		{"just restarted", before, report(2, 1, grown), Sample{}, false},
		{"new function", report(1, 9_000), report(1, 10_000, grown), Sample{1, map[string]Counts{"f": whole}}, true},
		{"counters shrunk", report(1, 9_000, grown), report(1, 10_000, before.Functions...), Sample{1, nil}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, ok := Difference(tc.before, tc.now)
			if ok != tc.ok {
				t.Fatalf("ok is %v", ok)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
