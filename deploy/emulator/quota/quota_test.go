package quota

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRoot(t *testing.T) {
	const mounts = "25 30 0:23 / /proc rw shared:12 - proc proc rw\n41 31 0:38 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw\n"
	if root, err := rootIn(mounts); err != nil || root != "/sys/fs/cgroup" {
		t.Errorf("%q, %v", root, err)
	}
	for _, text := range []string{"", "x - \n", " - cgroup2\n", "25 30 0:23 / /proc rw - cgroup cgroup rw\n"} {
		if root, err := rootIn(text); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%q: %q, %v", text, root, err)
		}
	}
}

func TestUnavailable(t *testing.T) {
	root := t.TempDir()
	limits := []Limit{{Name: "a", CPUs: 1}, {Name: "b", Memory: 1 << 20}}
	if _, err := New(root, "x", limits); !errors.Is(err, ErrUnavailable) {
		t.Errorf("no cgroup: %v", err)
	}
	if err := os.WriteFile(filepath.Join(root, "cgroup.controllers"), []byte("cpuset cpu pids\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := New(root, "x", limits)
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "the controller memory is not in") || !strings.Contains(err.Error(), "--ignore-limits") {
		t.Errorf("no controller: %v", err)
	}
	if _, err := os.Stat(filepath.Join(root, "x")); err == nil {
		t.Error("something is left")
	}
}

// TestLimits: a program that wants all of a processor gets half of one, and one that
// wants more memory than there is for it ends.
func TestLimits(t *testing.T) {
	root, err := Root()
	var g *Groups
	if err == nil {
		g, err = New(root, "dfaas-test-"+strconv.Itoa(os.Getpid()), []Limit{{Name: "a", CPUs: 0.5}, {Name: "b", Memory: 32 << 20}})
	}
	if errors.Is(err, ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
	}()
	run := func(node, script string) *exec.Cmd {
		t.Helper()
		cmd := exec.Command("sh", "-c", script)
		fd, limited := g.FD(node)
		if !limited {
			t.Fatalf("%s has no limit", node)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}
		_ = cmd.Run() // it is killed
		return cmd
	}
	busy := run("a", "timeout -s KILL 2 sh -c 'while :; do :; done'")
	if used := busy.ProcessState.UserTime() + busy.ProcessState.SystemTime(); used > 1300*time.Millisecond {
		t.Errorf("half a processor was used for %v in 2 s", used)
	}
	if big := run("b", "head -c 200000000 /dev/zero | tail -c 150000000 | wc -c | grep -q 150000000"); big.ProcessState.Success() {
		t.Error("150 MB were kept in 32 MiB")
	}
	if _, limited := g.FD("c"); limited {
		t.Error("a node without a limit has one")
	}
}
