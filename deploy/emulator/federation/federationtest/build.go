// Package federationtest brings what tests need to start federations.
package federationtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
)

// commands are the packages to build, by the directory of their module.
var commands = map[string][]string{
	"spoa":            {"./cmd/dfaas-spoa"},
	"controller":      {"./cmd/dfaas-controller", "./cmd/dfaasctl"},
	".":               {"./faasd/cmd/dfaas-provider"},
	"deploy/emulator": {"./cmd/dfaas-emulator"},
}

// Build builds all commands as the source is now and returns the directory of
// the programs, which is kept so that the next build is a short one.
func Build(tb testing.TB) string {
	tb.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		tb.Fatal(err)
	}
	bin := filepath.Join(cache, "dfaas-test", "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		tb.Fatal(err)
	}
	// Tests of several packages may build at the same time.
	lock, err := os.Create(filepath.Join(cache, "dfaas-test", "bin.lock"))
	if err != nil {
		tb.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		tb.Fatal(err)
	}
	_, file, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(file), "../../../..")
	for module, packages := range commands {
		args := append([]string{"build", "-C", filepath.Join(root, module), "-o", bin + "/"}, packages...)
		if output, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			tb.Fatalf("go %v: %v\n%s", args, err, output)
		}
	}
	return bin
}

// Binaries builds all commands and finds the parts of a node among them.
func Binaries(tb testing.TB) federation.Binaries {
	tb.Helper()
	binaries, err := federation.FindBinaries(Build(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return binaries
}
