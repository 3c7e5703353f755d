// Package e2e tests whole federations: every part a process of its own, with
// the real HAProxy.
//
// The tests of a federation share it and run side by side, each with functions of
// its own; those that kill, stop or reload something have a federation of their
// own. Federations run side by side, too, as many as -parallel says: they mostly
// wait. The scenarios come first and without them.
package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/internal/testprogram"
)

// built is where the programs are. It is set before the first test and not
// changed after.
var built struct {
	dir      string
	binaries federation.Binaries
}

// starting is held by the test that starts a federation: that is what takes
// processor time, of which those that run need some at the right moment.
var starting sync.Mutex

func TestMain(m *testing.M) {
	var err error
	if built.dir, err = testprogram.Build(); err == nil {
		built.binaries, err = federation.FindBinaries(built.dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// program returns the path of a program that was built.
func program(name string) string { return filepath.Join(built.dir, name) }
