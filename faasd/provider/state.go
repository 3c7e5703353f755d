package provider

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/dfaas/dfaas/internal/atomicfile"
)

const (
	stateVersion = 1
	maxStateSize = 64 << 20 // bytes of functions.json
	tempPrefix   = ".tmp-"
)

// record is what is kept of one function over restarts.
type record struct {
	Deployment types.FunctionDeployment `json:"deployment"`
	CreatedAt  time.Time                `json:"created_at"`
	Replicas   uint64                   `json:"replicas"` // 0 or 1
}

type stateFile struct {
	Version   int      `json:"version"`
	Functions []record `json:"functions"` // sorted by namespace and name
}

// stateDir is the directory that one provider owns:
//
//	lock                       held while the provider runs
//	functions.json             what is deployed
//	secrets/NAMESPACE/NAME     one file per secret, mode 0600
//	mounts/NUMBER/NAME         the same files, as the deployments of one provider see them
//	spool                      request bodies, without names
//	queue.db                   asynchronous calls, see package queue
type stateDir struct {
	path   string
	lock   *os.File
	mounts uint64 // made so far; used by the registry's goroutine
	users  *users // of functions; nil: they are the provider's
}

// openStateDir makes the directory if needed and locks it.
func openStateDir(path string) (*stateDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory: %w (choose another with --state-dir)", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the state directory: %w (choose another with --state-dir)", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("another provider uses the state directory %s: give this one its own with --state-dir", path)
	}
	return &stateDir{path: path, lock: lock}, nil
}

// close gives the directory free. It unlocks by itself: a process that is just
// being started has a copy of the file for a moment, which closing leaves locked.
func (d *stateDir) close() error {
	return errors.Join(syscall.Flock(int(d.lock.Fd()), syscall.LOCK_UN), d.lock.Close())
}

func (d *stateDir) functionsFile() string { return filepath.Join(d.path, "functions.json") }

func (d *stateDir) queueFile() string { return filepath.Join(d.path, "queue.db") }

// secretsDir is where the secrets of a namespace lie. The namespace must be
// valid.
func (d *stateDir) secretsDir(namespace string) string {
	return filepath.Join(d.path, "secrets", namespace)
}

// load reads the deployed functions; none if there is no file yet.
func (d *stateDir) load() ([]record, error) {
	text, err := os.ReadFile(d.functionsFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the deployed functions: %w", err)
	}
	records, err := parseState(text)
	if err != nil {
		return nil, fmt.Errorf("read the deployed functions from %s: %w (correct or remove the file)", d.functionsFile(), err)
	}
	return records, nil
}

func parseState(text []byte) ([]record, error) {
	if len(text) > maxStateSize {
		return nil, fmt.Errorf("larger than %d bytes", maxStateSize)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var state stateFile
	if err := decoder.Decode(&state); err != nil {
		return nil, err
	}
	if state.Version != stateVersion {
		return nil, fmt.Errorf("version %d: this program knows version %d", state.Version, stateVersion)
	}
	return state.Functions, nil
}

// save replaces the file of deployed functions, or leaves it as it was.
func (d *stateDir) save(records []record) error {
	text, err := json.MarshalIndent(stateFile{Version: stateVersion, Functions: records}, "", " ")
	if err != nil {
		return fmt.Errorf("encode the deployed functions: %w", err)
	}
	if len(text) >= maxStateSize {
		return conflict("the deployed functions together would need more than %d bytes: remove some first", maxStateSize)
	}
	if err := writeFile(d.functionsFile(), append(text, '\n')); err != nil {
		return fmt.Errorf("save the deployed functions: %w", err)
	}
	return nil
}

// writeFile replaces a file by one of mode 0600 with that content, whole and on
// the disk, or leaves it as it was.
func writeFile(path string, content []byte) error { return atomicfile.Replace(path, content, 0o600) }

// removeFile removes a file for good.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(path))
}

// diskFull reports whether err means that there is no room for what was to be
// written.
func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}
