package haproxytest

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/dfaas/dfaas/internal/debian"
)

// Binary is an HAProxy to run. The zero value is the installed one.
type Binary struct{ unpacked debian.Program }

// Installed is the HAProxy that the machine has.
var Installed Binary

// command runs the binary with the arguments.
func (b Binary) command(args ...string) *exec.Cmd {
	if b == Installed {
		path, err := exec.LookPath("haproxy")
		if err != nil {
			path = "/usr/sbin/haproxy" // not in the PATH of ordinary users
		}
		return exec.Command(path, args...)
	}
	argv := b.unpacked.Argv(args...)
	return exec.Command(argv[0], argv[1:]...)
}

// canReload reports whether master-worker mode works: its master executes itself
// again, which an unpacked package cannot do without its loader.
func (b Binary) canReload() bool { return b == Installed }

// Check runs `haproxy -c` on the configuration files with these settings, as they
// are, and returns all that it printed, except notices.
func (b Binary) Check(env map[string]string, files ...string) (output string, err error) {
	args := []string{"-c"}
	for _, file := range files {
		args = append(args, "-f", file)
	}
	cmd := b.command(args...)
	cmd.Env = Environ(nil)
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	printed, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(printed)) {
		if !strings.HasPrefix(line, "[NOTICE]") && strings.TrimSpace(line) != "Configuration file is valid" {
			output += line
		}
	}
	return output, err
}

// Find returns the HAProxy of another release of Debian: "trixie" has 3.0, "forky"
// and "sid" what is to come, "experimental" the newest.
func Find(release string) (Binary, error) {
	program, err := debian.Find(release, "haproxy", "usr/sbin/haproxy")
	return Binary{program}, err
}

// Debian is Find for tests that fail without it.
func Debian(tb testing.TB, release string) Binary {
	tb.Helper()
	b, err := Find(release)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
