package identity

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
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
	// Unlike rename, link fails if another process was first.
	return placeSecret(path, data, func(tmp string) error { return errors.Join(os.Link(tmp, path), os.Remove(tmp)) })
}

// replaceSecret is createSecret, but puts the file in place of the one that may be
// there. Whoever reads it sees the one or the other, whole.
func replaceSecret(path string, data []byte) error {
	return placeSecret(path, data, func(tmp string) error {
		err := os.Rename(tmp, path)
		if err != nil {
			err = errors.Join(err, os.Remove(tmp))
		}
		return err
	})
}

// placeSecret writes the secret to a file beside path, of which place makes path.
func placeSecret(path string, data []byte, place func(tmp string) error) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	if err := place(tmp.Name()); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the directory's new entry survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
