package table

import (
	"fmt"

	"github.com/dfaas/dfaas/internal/protocol"
)

// current is the version of the table that this package is written for. A newer
// one may have fields that older SPOAs do not know and ignore; Table.Needs says
// when ignoring them would be wrong.
const current = 2

// Newest is the version of the table that this package writes.
func Newest() int {
	if protocol.Previous {
		return current - 1
	}
	return current
}

// Oldest is the oldest version that this package reads, that of tables that do
// not say any. Those who write it must leave out all that it did not have.
const Oldest = 1

// checkVersion refuses tables that cannot be understood.
func (t *Table) checkVersion() error {
	switch {
	case t.Speaks == 0 && t.Needs == 0:
		return nil // version 1 did not say so
	case t.Speaks < 1 || t.Needs < 1 || t.Needs > t.Speaks:
		return fmt.Errorf("speaks: version %d that needs %d: it needs at least 1 and at most itself", t.Speaks, t.Needs)
	case t.Needs > Newest():
		return fmt.Errorf("needs: version %d, this dfaas-spoa understands %d: upgrade dfaas-spoa to the release of dfaas-controller",
			t.Needs, Newest())
	}
	return nil
}
