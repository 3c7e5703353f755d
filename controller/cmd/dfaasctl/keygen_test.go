package main

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestGiveTo(t *testing.T) {
	file, link := filepath.Join(t.TempDir(), "secret"), filepath.Join(t.TempDir(), "link")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	// To oneself, which everybody may.
	if err := giveTo(file, os.Getuid(), os.Getgid()); err != nil {
		t.Error(err)
	}
	if err := giveTo(link, os.Getuid(), os.Getgid()); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a symbolic link was followed: %v", err)
	}
}
