package federation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// holderEnv makes the test program start a process and wait to be killed.
const holderEnv = "DFAAS_TEST_HOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holderEnv); dir != "" {
		hold(dir)
	}
	os.Exit(m.Run())
}

// hold starts a process and writes its pid to a file in dir.
func hold(dir string) {
	s, err := newSpawner(nil)
	p := &process{
		part: scenario.SPOA, node: "node-1", path: "/bin/sleep", args: []string{"1000"}, log: filepath.Join(dir, "log"), spawner: s,
	}
	if err == nil {
		err = p.start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_, pid := p.state()
	if err := os.WriteFile(filepath.Join(dir, "pid.new"), []byte(strconv.Itoa(pid)), 0o600); err != nil {
		os.Exit(1)
	}
	if err := os.Rename(filepath.Join(dir, "pid.new"), filepath.Join(dir, "pid")); err != nil {
		os.Exit(1)
	}
	select {}
}

func spawnerFor(t *testing.T) *spawner {
	t.Helper()
	s, err := newSpawner(nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func shell(t *testing.T, script string) *process {
	t.Helper()
	s := spawnerFor(t)
	t.Cleanup(s.close)
	p := &process{
		part: scenario.SPOA, node: "node-1", path: "/bin/sh", args: []string{"-c", script},
		log: filepath.Join(t.TempDir(), "log"), spawner: s,
	}
	t.Cleanup(func() {
		_ = p.kill() // it may be dead already
	})
	return p
}

func start(t *testing.T, p *process) {
	t.Helper()
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	err := until(t.Context(), 20*time.Second, func(context.Context) error {
		if !condition() {
			return errors.New(what)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("never: %v", err)
	}
}

func exists(pid int) bool { return syscall.Kill(pid, 0) == nil }

func TestProcessKill(t *testing.T) {
	p := shell(t, "sleep 1000 & echo $!; wait")
	if state, pid := p.state(); state != Dead || pid != 0 {
		t.Errorf("before its start: %s, %d", state, pid)
	}
	if err := p.kill(); err == nil {
		t.Error("what does not run can be killed")
	}
	if err := os.WriteFile(p.log, []byte("of another time"), 0o644); err != nil {
		t.Fatal(err)
	}
	start(t, p)
	if info, err := os.Stat(p.log); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its log: %v, %v", info, err)
	}
	child := 0
	eventually(t, "it starts a child", func() bool {
		_, err := fmt.Sscan(tail(p.log), &child)
		return err == nil
	})
	if state, pid := p.state(); state != Running || !exists(pid) {
		t.Errorf("%s, %d", state, pid)
	}
	if err := p.kill(); err != nil {
		t.Fatal(err)
	}
	if state, pid := p.state(); state != Dead || pid != 0 {
		t.Errorf("after the kill: %s, %d", state, pid)
	}
	if err := p.crash(); err != nil {
		t.Errorf("the kill is a crash: %v", err)
	}
	eventually(t, "its child is gone", func() bool { return !exists(child) })

	start(t, p)
	if state, _ := p.state(); state != Running {
		t.Errorf("after the restart: %s", state)
	}
}

func TestProcessSuspend(t *testing.T) {
	p := shell(t, "while :; do echo x; done")
	start(t, p)
	eventually(t, "it writes", func() bool { return size(t, p.log) > 0 })
	if err := p.suspend(); err != nil {
		t.Fatal(err)
	}
	state, pid := p.state()
	if state != Suspended {
		t.Errorf("suspended: %s", state)
	}
	eventually(t, "the kernel has stopped it", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err == nil && strings.Contains(string(stat), ") T ")
	})
	if err := p.resume(); err != nil {
		t.Fatal(err)
	}
	before := size(t, p.log)
	eventually(t, "it writes again", func() bool { return size(t, p.log) > before })
	if state, _ := p.state(); state != Running {
		t.Errorf("resumed: %s", state)
	}
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// A process that ends by itself has crashed, and its log tells why.
func TestProcessCrash(t *testing.T) {
	p := shell(t, "echo out of coffee >&2; exit 3")
	start(t, p)
	<-p.current.Load().ended
	err := p.crash()
	if err == nil || !strings.Contains(err.Error(), "spoa of node-1 ended by itself (exit status 3)") ||
		!strings.Contains(err.Error(), "out of coffee") {
		t.Errorf("got %v", err)
	}
	if state, _ := p.state(); state != Crashed {
		t.Errorf("state %s", state)
	}
}

// A stopped process ends too when it is asked to, one that does not want to
// end is killed.
func TestProcessTerminate(t *testing.T) {
	p := shell(t, "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done")
	start(t, p)
	eventually(t, "it is ready", func() bool { return strings.Contains(tail(p.log), "ready") })
	if err := p.suspend(); err != nil {
		t.Fatal(err)
	}
	p.terminate()
	p.await(nil)
	if state, _ := p.state(); state != Dead || !strings.Contains(tail(p.log), "bye") {
		t.Errorf("%s, log:\n%s", state, tail(p.log))
	}

	deadline := make(chan struct{})
	close(deadline)
	for range 2 { // one deadline is for all
		stubborn := shell(t, "trap '' TERM; echo ready; while :; do sleep 0.01; done")
		start(t, stubborn)
		eventually(t, "it is ready", func() bool { return strings.Contains(tail(stubborn.log), "ready") })
		stubborn.terminate()
		stubborn.await(deadline)
		if state, _ := stubborn.state(); state != Dead {
			t.Errorf("the stubborn one is %s", state)
		}
	}
}

func TestProcessThatCannotStart(t *testing.T) {
	p := shell(t, "")
	p.path = "/does/not/exist"
	if err := p.start(); err == nil || !strings.Contains(err.Error(), "starting spoa of node-1") {
		t.Errorf("got %v", err)
	}
	p.path, p.spawner = "/bin/true", spawnerFor(t)
	p.spawner.close()
	if err := p.start(); !errors.Is(err, errStopped) {
		t.Errorf("started after the end: %v", err)
	}
}

// Whatever becomes of the program, its processes do not outlive it.
func TestProcessesDieWithTheProgram(t *testing.T) {
	dir := t.TempDir()
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), holderEnv+"="+dir)
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	pid := 0
	eventually(t, "the holder has started a process", func() bool {
		text, err := os.ReadFile(filepath.Join(dir, "pid"))
		if err == nil {
			pid, err = strconv.Atoi(string(text))
		}
		return err == nil
	})
	if !exists(pid) {
		t.Fatal("the process does not run")
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait() // it was killed
	eventually(t, "the process is gone", func() bool { return !exists(pid) })
}

func TestTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var long strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&long, "line %d\n", i)
	}
	if err := os.WriteFile(path, []byte(long.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(tail(path), "\n")
	if len(lines) != tailLines || lines[tailLines-1] != "    line 999" {
		t.Errorf("tail:\n%s", tail(path))
	}
	if got := tail(path + "x"); !strings.Contains(got, "no such file") {
		t.Errorf("tail of nothing: %s", got)
	}
}
