package node

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/controller/core"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/faasd"
)

func TestDeployed(t *testing.T) {
	got := deployed([]faasd.Function{
		{Name: "bad", Labels: faasd.ParseLabels(map[string]string{faasd.LabelMaxRate: "many", faasd.LabelTimeoutMS: "-1"})},
		{Name: "bare", Labels: faasd.ParseLabels(nil)},
		{Name: "both", Labels: faasd.ParseLabels(map[string]string{faasd.LabelMaxRate: "12.5", faasd.LabelTimeoutMS: "300"})},
		{Name: "gone", Labels: faasd.ParseLabels(nil), ReadyKnown: true},
		{Name: "there", Labels: faasd.ParseLabels(nil), ReadyKnown: true, Ready: 1},
	}, 100)
	if got[0].Warning == "" {
		t.Error("invalid labels give no warning")
	}
	got[0].Warning = ""
	want := []core.Function{
		{Name: "bad", Capacity: strategy.Unlimited},
		{Name: "bare", Capacity: 100, Soft: true},
		{Name: "both", Capacity: 12.5, TimeoutMillis: 300},
		{Name: "gone", Capacity: 100, Soft: true, Idle: true},
		{Name: "there", Capacity: 100, Soft: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
