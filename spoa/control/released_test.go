package control_test

import (
	"testing"

	"github.com/dfaas/dfaas/internal/releasedtest"
	"github.com/dfaas/dfaas/spoa/control"
	"github.com/dfaas/dfaas/spoa/meter"
)

// TestReleasedAnswers reads what released agents have answered.
func TestReleasedAnswers(t *testing.T) {
	releasedtest.Check(t, "testdata/d972c02/health.json", new(control.Health))
	var report meter.Report
	releasedtest.Check(t, "testdata/d972c02/meter.json", &report)
	if report.TableNewest != 0 || report.TableVersion == 0 || len(report.Functions) == 0 {
		t.Errorf("the agent of the first release understands tables up to version %d: %+v", report.TableNewest, report)
	}
}
