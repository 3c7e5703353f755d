package clock

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// Programs builds the two programs of a node that look at the clock into dir,
// which must not be there yet. An error may wrap ErrUnavailable.
func Programs(ctx context.Context, dir string, race bool) (federation.Binaries, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("programs with a clock of their own: %w", err)
	}
	const module = "github.com/dfaas/dfaas/"
	err := Build(ctx, ".", dir, race, module+"spoa/cmd/dfaas-spoa", module+"controller/cmd/dfaas-controller")
	return federation.Binaries{
		scenario.SPOA: filepath.Join(dir, "dfaas-spoa"), scenario.Controller: filepath.Join(dir, "dfaas-controller"),
	}, err
}
