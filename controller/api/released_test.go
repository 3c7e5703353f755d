package api

import (
	"testing"

	"github.com/dfaas/dfaas/internal/releasedtest"
)

// TestReleasedAnswers reads what released controllers have answered.
func TestReleasedAnswers(t *testing.T) {
	for path, into := range map[string]any{
		"status": new(Status), "peers": new([]Peer), "functions": new([]Function), "routes": new([]Route),
	} {
		releasedtest.Check(t, "testdata/d972c02/"+path+".json", into)
	}
}
