package node

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/spoa/table"
)

func TestDeployed(t *testing.T) {
	got := deployed([]faasd.Function{
		{Name: "bad", Labels: faasd.ParseLabels(map[string]string{faasd.LabelMaxRate: "many", faasd.LabelTimeoutMS: "-1"})},
		{Name: "bare", Labels: faasd.ParseLabels(nil)},
		{Name: "both", Labels: faasd.ParseLabels(map[string]string{faasd.LabelMaxRate: "12.5", faasd.LabelTimeoutMS: "300"})},
	}, 100)
	if got[0].warning == "" {
		t.Error("invalid labels give no warning")
	}
	got[0].warning = ""
	want := []function{
		{name: "bad", capacity: table.Unlimited},
		{name: "bare", capacity: 100, soft: true},
		{name: "both", capacity: 12.5, timeoutMillis: 300},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(function{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
