package provider

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// mountSecrets makes a directory with those secrets of a namespace, by their
// names: what a deployment's processes see. The secrets are the same files, linked, or
// copies that belong to its user, if it is not 0.
func (d *stateDir) mountSecrets(namespace string, names []string, user uint32) (string, error) {
	d.mounts++
	dir := filepath.Join(d.mountsDir(), strconv.FormatUint(d.mounts, 10))
	if err := d.makeDir(dir); err != nil {
		return "", fmt.Errorf("make a place for the function's secrets: %w", err)
	}
	for _, name := range names {
		if err := d.mountSecret(dir, namespace, name, user); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", errors.Join(err, os.RemoveAll(dir))
		}
	}
	return dir, nil
}

// mountSecret puts a secret into such a directory, or its new value.
func (d *stateDir) mountSecret(dir, namespace, name string, user uint32) error {
	temp, secret := filepath.Join(dir, tempPrefix+name), filepath.Join(d.secretsDir(namespace), name)
	var err error
	if user == 0 {
		err = os.Link(secret, temp)
	} else {
		err = copyFor(user, secret, temp)
	}
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
		err = d.makeDir(d.mountsDir())
	}
	if err == nil {
		err = os.MkdirAll(d.spoolDir(), 0o700)
	}
	if err == nil && d.users != nil {
		err = os.Chmod(d.path, 0o711)
	}
	if err != nil {
		return fmt.Errorf("prepare the state directory: %w", err)
	}
	return nil
}

// makeDir makes a directory on the way to a function's secrets, which its user can
// pass.
func (d *stateDir) makeDir(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil || d.users == nil {
		return err
	}
	return os.Chmod(path, 0o711)
}

func (d *stateDir) mountsDir() string { return filepath.Join(d.path, "mounts") }

// spoolDir is where request bodies lie that are too large for memory.
func (d *stateDir) spoolDir() string { return filepath.Join(d.path, "spool") }
