package node

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/controller/core"
	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/testvalue"
)

func TestDeployed(t *testing.T) {
	got := deployed([]faasd.Function{
		{Name: testvalue.Name("bad"), Labels: faasd.ParseLabels(map[string]string{faasd.LabelMaxRate: "many", faasd.LabelTimeoutMS: "-1"})},
		{Name: testvalue.Name("bare"), Labels: faasd.ParseLabels(nil)},
		{Name: testvalue.Name("both"), Labels: faasd.ParseLabels(map[string]string{faasd.LabelMaxRate: "12.5", faasd.LabelTimeoutMS: "300"})},
		{Name: testvalue.Name("gone"), Labels: faasd.ParseLabels(nil), ReadyKnown: true},
		{Name: testvalue.Name("there"), Labels: faasd.ParseLabels(nil), ReadyKnown: true, Ready: 1},
	}, testvalue.Rate(100))
	if got[0].Warning == "" {
		t.Error("invalid labels give no warning")
	}
	got[0].Warning = ""
	want := []core.Function{
		{Name: testvalue.Name("bad"), Capacity: limit.Unlimited()},
		{Name: testvalue.Name("bare"), Capacity: testvalue.Bound(100), Soft: true},
		{Name: testvalue.Name("both"), Capacity: testvalue.Bound(12.5), TimeoutMillis: 300},
		{Name: testvalue.Name("gone"), Capacity: testvalue.Bound(100), Soft: true, Idle: true},
		{Name: testvalue.Name("there"), Capacity: testvalue.Bound(100), Soft: true},
	}
	if diff := cmp.Diff(want, got, testvalue.Comparable()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
