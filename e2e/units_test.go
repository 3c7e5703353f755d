package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// exposure is the most that systemd may find a unit to be exposed, in tenths:
// 0 is all closed, 100 all open.
const exposure = "15"

// TestUnits: the units are valid, and leave our programs little to do harm with.
func TestUnits(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze here")
	}
	units, err := filepath.Glob("../deploy/systemd/*.service")
	if err != nil || len(units) != 3 {
		t.Fatalf("units %q, %v", units, err)
	}
	dir := t.TempDir()
	program := regexp.MustCompile(`(?m)^ExecStart=\S+`)
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		// Our programs are not installed here.
		text = program.ReplaceAll(text, []byte("ExecStart=/bin/true"))
		path := filepath.Join(dir, filepath.Base(unit))
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if output, err := exec.Command(analyze, "verify", "--man=no", path).CombinedOutput(); err != nil || len(output) > 0 {
			t.Errorf("%s: %v\n%s", unit, err, output)
		}
		output, err := exec.Command(analyze, "security", "--no-pager", "--offline=true", "--threshold="+exposure, path).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", unit, err, output)
		}
	}
}
