package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"syscall"

	"github.com/dfaas/dfaas/controller/identity"
	"github.com/dfaas/dfaas/deploy/emulator/pause"
	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

const diskSize = "1m"

// notPossible is why a test case cannot be run on this machine.
type notPossible struct{ error }

// smallDisk mounts one at path.
func smallDisk(path string) (unmount func(), err error) {
	if err := os.Mkdir(path, 0o700); err != nil {
		return nil, fmt.Errorf("a small disk: %w", err)
	}
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, "size="+diskSize); err != nil {
		return nil, notPossible{fmt.Errorf("a disk that can be filled needs root and the right to mount: %w", err)}
	}
	return func() { _ = syscall.Unmount(path, syscall.MNT_DETACH) }, nil
}

// fillDisk fills the disk of the faulty node, tries what needs to write and
// makes room again.
func fillDisk(ctx context.Context, b *testbed) (notes []string, err error) {
	filler := filepath.Join(b.disk, "filler")
	if err := fill(filler); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.Remove(filler)) }()
	note, err := tryDeploy(ctx, b)
	if err != nil {
		return nil, err
	}
	notes = append(notes, note)
	if note, err = tryIdentity(filepath.Join(b.disk, "another.key")); err != nil {
		return nil, err
	}
	notes = append(notes, note)
	if err := b.node(faulty).Do(ctx, scenario.Restart, scenario.Controller); err != nil {
		return nil, err
	}
	return notes, pause.For(ctx, hang)
}

func fill(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("filling the disk: %w", err)
	}
	_, err = io.Copy(file, zeros{})
	if err = errors.Join(err, file.Close()); !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("filling the disk: %w", err)
	}
	return nil
}

// zeros is an endless file.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// tryDeploy expects the provider to refuse a function that it could not keep.
func tryDeploy(ctx context.Context, b *testbed) (string, error) {
	client, err := faasd.New(faasd.Options{URL: b.node(faulty).Gateway})
	if err != nil {
		return "", err
	}
	defer client.Close()
	rate := plenty
	err = client.Deploy(ctx, deployment(scenario.Function{Name: "late", Process: "cat", Maxrate: &rate}))
	var status *faasd.StatusError
	if !errors.As(err, &status) || status.Code != http.StatusInsufficientStorage {
		return "", fmt.Errorf("deploying with a full disk: 507 expected, got: %v", err)
	}
	list, err := client.List(ctx)
	if err != nil {
		return "", err
	}
	for _, f := range list.Functions {
		if f.Name.String() == "late" {
			return "", errors.New("a function was deployed that could not be saved")
		}
	}
	return "a deployment is refused with 507 and nothing changes", nil
}

// tryIdentity expects that no broken identity is left behind.
func tryIdentity(path string) (string, error) {
	_, err := identity.LoadOrCreate(path)
	if !errors.Is(err, syscall.ENOSPC) {
		return "", fmt.Errorf("making an identity on a full disk: %w expected, got: %w", syscall.ENOSPC, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("a broken identity was left on the full disk: %s", path)
	}
	return "a new identity is refused and no half of one is left", nil
}
