// Package e2e tests whole federations: every part a process of its own, with
// the real HAProxy.
//
// TestMain builds the programs from the sources, so that the tests never run
// against those of yesterday. The tests of a federation share it and run side
// by side, each with functions of its own; those that kill, stop or reload
// something have a federation of their own.
package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
)

// built is where the programs are. It is set before the first test and not
// changed after.
var built struct {
	dir      string
	binaries federation.Binaries
}

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	built.dir, err = os.MkdirTemp("", "dfaas-e2e-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(built.dir)) }()
	for module, commands := range map[string][]string{
		"..":            {"./faasd/cmd/dfaas-provider"},
		"../spoa":       {"./cmd/dfaas-spoa"},
		"../controller": {"./cmd/dfaas-controller", "./cmd/dfaasctl"},
	} {
		// As `make build` does, so that what it compiled is not compiled again.
		build := exec.Command("go", append([]string{"build", "-trimpath", "-o", built.dir + "/"}, commands...)...)
		build.Dir = module
		if out, err := build.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("building %v: %w\n%s", commands, err, out)
		}
	}
	if built.binaries, err = federation.FindBinaries(built.dir); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// program returns the path of a program that was built.
func program(name string) string { return filepath.Join(built.dir, name) }
