package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// check: the file has that content and mode 0600, and nothing is beside it.
func check(t *testing.T, path, want string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil || string(text) != want {
		t.Errorf("%q, %v; want %q", text, err, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("beside it: %v, %v", entries, err)
	}
}

func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, text := range []string{"one", "two"} {
		if err := Replace(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		check(t, path, text)
		// Permissions that somebody opened are closed again.
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := Replace(filepath.Join(path, "x"), nil, 0o600); err == nil {
		t.Error("a file below a file")
	}
}

// TestCreate: of many that are at once, one makes the file, and none harms it.
func TestCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	var first atomic.Pointer[string]
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			text := fmt.Sprint("by ", i)
			switch err := Create(path, []byte(text), 0o600); {
			case err == nil && !first.CompareAndSwap(nil, &text):
				t.Error("made twice")
			case err != nil && !errors.Is(err, fs.ErrExist):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if first.Load() == nil {
		t.Fatal("nobody made it")
	}
	check(t, path, *first.Load())
}
