package identity

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/dfaas/dfaas/internal/atomicfile"
)

// maxSecret bounds how much of a secret's file is read.
const maxSecret = 4096 // bytes

// readSecret reads a small secret file, refusing one that other users can read:
// a secret that leaked cannot be trusted any more.
func readSecret(path string) ([]byte, error) {
	// Not blocking, or a FIFO would hold up the start for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// Asked of the open file, so that nobody can swap it in between.
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s is open to other users (mode %04o): run `chmod 600 %s`", path, mode, path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSecret {
		return nil, fmt.Errorf("%s is larger than %d bytes: it is not a key", path, maxSecret)
	}
	return data, nil
}

// createSecret writes a new secret with mode 0600, and its directory with mode
// 0700 if that is missing. The file appears with its whole content or not at
// all, and an existing one is never overwritten: that is fs.ErrExist.
func createSecret(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return atomicfile.Create(path, data, 0o600)
}

// replaceSecret is createSecret, but puts the file in place of the one that may be
// there. Whoever reads it sees the one or the other, whole.
func replaceSecret(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return atomicfile.Replace(path, data, 0o600)
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
