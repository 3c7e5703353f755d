package supervisor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
)

// Tidy removes what a supervisor that was killed has left of a federation: its socket,
// its control groups, and the short ways to its directory. Its processes, its network namespaces and their
// devices have ended with it.
func Tidy(dir string) error {
	if Running(dir) {
		return nil
	}
	if err := os.Remove(filepath.Join(dir, SocketFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing what is left: %w", err)
	}
	return errors.Join(federation.RemoveGroups(dir), federation.RemoveShortWays(dir))
}
