// Package atomicfile writes files whole or not at all, and so that they survive
// a power cut.
package atomicfile

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// Replace puts a file with that content and those permissions in place of the
// one that may be there. Whoever reads it sees the one or the other.
func Replace(path string, data []byte, perm os.FileMode) error {
	return place(path, data, perm, (*renameio.PendingFile).CloseAtomicallyReplace)
}

// Create is Replace where there must be no file yet: an existing one is never
// overwritten, that is fs.ErrExist.
func Create(path string, data []byte, perm os.FileMode) error {
	return place(path, data, perm, func(f *renameio.PendingFile) error {
		if err := f.Sync(); err != nil {
			return err
		}
		return os.Link(f.Name(), path) // unlike rename, it fails if another process was first
	})
}

// place writes a file beside path, of which put makes path.
func place(path string, data []byte, perm os.FileMode, put func(*renameio.PendingFile) error) (err error) {
	dir := filepath.Dir(path)
	pending, err := renameio.NewPendingFile(path, renameio.WithTempDir(dir), renameio.WithStaticPermissions(perm))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pending.Cleanup()) }()
	if _, err := pending.Write(data); err != nil {
		return err
	}
	if err := put(pending); err != nil {
		return err
	}
	return SyncDir(dir)
}

// SyncDir makes what was created, renamed or removed in a directory survive a
// power cut.
func SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
