package testprogram

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEachCheckoutHasItsOwn: where programs are built follows from where the sources are,
// and from nothing that two checkouts share.
func TestEachCheckoutHasItsOwn(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join(root, "a", "b")
	if err := os.MkdirAll(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(inside)
	if dir, err := checkout(); err == nil || !strings.Contains(err.Error(), "no go.work in "+inside) {
		t.Errorf("outside of any checkout: %s, %v", dir, err)
	}
	if err := os.WriteFile(filepath.Join(root, "go.work"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if dir, err := checkout(); err != nil || dir != root {
		t.Errorf("below %s: %s, %v", root, dir, err)
	}
}
