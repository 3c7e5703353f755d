package federation

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// Binaries are the paths of the programs that a node consists of.
type Binaries map[scenario.Part]string

// programs are the programs' names by part.
var programs = map[scenario.Part]string{
	scenario.Provider:   "dfaas-provider",
	scenario.SPOA:       "dfaas-spoa",
	scenario.HAProxy:    "haproxy",
	scenario.Controller: "dfaas-controller",
}

// FindBinaries looks for the programs in dir, where `make build` puts them,
// then in PATH; for haproxy also in /usr/sbin, which ordinary users do not have
// in their PATH. Its error names everything that is missing, and a hint.
func FindBinaries(dir string) (Binaries, error) {
	found := make(Binaries)
	var missing []error
	for _, part := range scenario.Parts() {
		path, err := FindProgram(dir, programs[part])
		if err != nil {
			missing = append(missing, err)
		}
		found[part] = path
	}
	return found, errors.Join(missing...)
}

// FindProgram looks for one program as FindBinaries does.
func FindProgram(dir, name string) (string, error) {
	places := []string{filepath.Join(dir, name)}
	if inPath, err := exec.LookPath(name); err == nil {
		places = append(places, inPath)
	}
	hint := "run `make build`"
	if name == "haproxy" {
		places = append(places[1:], "/usr/sbin/haproxy")
		hint = "run `make setup`, or: apt-get install haproxy"
	}
	for _, path := range places {
		info, err := os.Stat(path)
		if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return filepath.Abs(path)
		}
	}
	return "", fmt.Errorf("%s is neither in %s nor in PATH: %s", name, dir, hint)
}
