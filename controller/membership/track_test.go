package membership

import (
	"testing"

	"github.com/dfaas/dfaas/controller/wire"
)

func TestDuplicate(t *testing.T) {
	for name, c := range map[string]struct {
		run, epoch, sent int64
		want             bool
	}{
		"nothing announced yet":             {0, 2000, 2000, false},
		"this run":                          {1000, 1000, 2000, false},
		"an earlier run":                    {1000, 500, 999, false},
		"an earlier run, its clock unknown": {1000, 500, 0, false},
		"one that began before and goes on": {1000, 500, 1001, true},
		"one that began later":              {1000, 1500, 1501, true},
	} {
		if got := Duplicate(c.run, wire.Announcement{Epoch: c.epoch, SentAtMillis: c.sent}); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
