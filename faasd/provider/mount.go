package provider

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// mountSecrets makes a directory with those secrets of a namespace, by their
// names: what a deployment's processes see. The secrets are the same files, linked.
func (d *stateDir) mountSecrets(namespace string, names []string) (string, error) {
	d.mounts++
	dir := filepath.Join(d.mountsDir(), strconv.FormatUint(d.mounts, 10))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("make a place for the function's secrets: %w", err)
	}
	for _, name := range names {
		if err := d.mountSecret(dir, namespace, name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", errors.Join(err, os.RemoveAll(dir))
		}
	}
	return dir, nil
}

// mountSecret puts a secret into such a directory, or its new value.
func (d *stateDir) mountSecret(dir, namespace, name string) error {
	temp := filepath.Join(dir, tempPrefix+name)
	err := os.Link(filepath.Join(d.secretsDir(namespace), name), temp)
	if err == nil {
		err = os.Rename(temp, filepath.Join(dir, name))
	}
	if err != nil {
		return fmt.Errorf("give the function the secret %s: %w", name, err)
	}
	_ = os.Remove(temp) // it is still there if nothing was new
	return nil
}

// clearMounts removes what an earlier provider left.
func (d *stateDir) clearMounts() error {
	err := os.RemoveAll(d.mountsDir())
	if err == nil {
		err = os.MkdirAll(d.mountsDir(), 0o700)
	}
	if err == nil {
		err = os.MkdirAll(d.spoolDir(), 0o700)
	}
	if err != nil {
		return fmt.Errorf("prepare the state directory: %w", err)
	}
	return nil
}

func (d *stateDir) mountsDir() string { return filepath.Join(d.path, "mounts") }

// spoolDir is where request bodies lie that are too large for memory.
func (d *stateDir) spoolDir() string { return filepath.Join(d.path, "spool") }
