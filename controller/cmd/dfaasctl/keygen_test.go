package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
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
	if err := os.Link(file, link+"2"); err != nil {
		t.Fatal(err)
	}
	if err := giveTo(link+"2", os.Getuid(), os.Getgid()); err == nil || !strings.Contains(err.Error(), "one name only") {
		t.Errorf("another file was given away by a second name: %v", err)
	}
	pipe := link + "3"
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := giveTo(pipe, os.Getuid(), os.Getgid()); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a pipe was given away: %v", err)
	}
}
