// Package testprogram builds the programs of this repository for the tests that
// run them.
package testprogram

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// EnvDir is a variable with a directory of programs that are up to date, which
// saves building them: `make test` has just done so.
const EnvDir = "DFAAS_TEST_PROGRAMS"

// commands are the packages of all programs.
var commands = []string{
	"github.com/dfaas/dfaas/spoa/cmd/dfaas-spoa",
	"github.com/dfaas/dfaas/controller/cmd/dfaas-controller",
	"github.com/dfaas/dfaas/controller/cmd/dfaasctl",
	"github.com/dfaas/dfaas/faasd/cmd/dfaas-provider",
	"github.com/dfaas/dfaas/deploy/emulator/cmd/dfaas-emulator",
}

// Dir returns the directory with all programs as the source is now.
func Dir(tb testing.TB) string {
	tb.Helper()
	dir, err := Build()
	if err != nil {
		tb.Fatal(err)
	}
	return dir
}

// Build is Dir where there is no test. What it builds is kept where `make clean` removes it,
// so that the next time takes less. Each checkout has its own: the tests of one must not run
// what another has just built.
func Build() (dir string, err error) {
	if dir := os.Getenv(EnvDir); dir != "" {
		return dir, nil
	}
	root, err := checkout()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(root, "out", "test", "bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// Tests of several packages may build at the same time.
	lock, err := os.Create(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("locking %s: %w", lock.Name(), err)
	}
	// As `make build` does, so that what it compiled is not compiled again.
	args := append([]string{"build", "-trimpath", "-o", dir + "/"}, commands...)
	if output, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go %v: %w\n%s", args, err, output)
	}
	return dir, nil
}

// checkout returns the directory of the sources that the working directory is in: tests
// run in that of their package.
func checkout() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("building the programs under test: there is no go.work in %s, nor above", start)
		}
	}
}
