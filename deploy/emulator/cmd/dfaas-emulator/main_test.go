package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dfaas/dfaas/deploy/emulator/link"
	"github.com/dfaas/dfaas/deploy/emulator/network"
	"github.com/dfaas/dfaas/deploy/emulator/quota"
	"github.com/dfaas/dfaas/deploy/emulator/supervisor"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/port"
	"github.com/dfaas/dfaas/internal/testprogram"
)

// program is the path of dfaas-emulator, beside all others.
type program string

func build(t *testing.T) program {
	t.Helper()
	return program(filepath.Join(testprogram.Dir(t), "dfaas-emulator"))
}

// execute runs the program and returns its exit code.
func (p program) execute(t *testing.T, dir string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.Command(string(p), args...)
	var out, errOut bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errOut.String()
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const tiny = `name: tiny
period: 200ms
warmup: 0s
nodes: [{name: node-1, functions: [{name: funca, process: cat, maxrate: 50}]}]
load: [{target: node-1, function: funca, rate: 20, duration: 2s, body: hello}]
expect: [{status: {200: 19.., other: 0}}]
`

func TestUsage(t *testing.T) {
	emulator, dir := build(t), t.TempDir()
	bad := write(t, filepath.Join(dir, "bad.yaml"), "name: bad\nnodes: [{name: a}]\nperod: 1s\n")
	good := write(t, filepath.Join(dir, "good.yaml"), tiny)
	idle := write(t, filepath.Join(dir, "idle.yaml"), "name: idle\nnodes: [{name: a}]\n")
	for _, test := range []struct {
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{[]string{"--help"}, 0, "dfaas-emulator demo", ""},
		{[]string{}, 0, "Available Commands", ""},
		{[]string{"--version"}, 0, "dfaas-emulator ", ""},
		{[]string{"bash"}, 2, "", "unknown command"},
		{[]string{"run"}, 2, "", "See 'dfaas-emulator run --help'"},
		{[]string{"run", "--fast"}, 2, "", "unknown flag: --fast"},
		{[]string{"run", "missing.yaml"}, 2, "", "missing.yaml"},
		{[]string{"run", bad}, 2, "", "bad.yaml:3: unknown key \"perod\""},
		{[]string{"run", idle}, 2, "", "has no load"},
		{[]string{"run", good, "-o", dir}, 2, "", "holds other things"},
		{[]string{"run", good, "--strategy", "headroom,wild"}, 2, "", "--strategy: unknown strategy"},
		{[]string{"run", good, "--strategy", "recalc@1ns"}, 2, "", "behind the @, a period of 100ms to 10m0s is expected"},
		{[]string{"run", good, "--strategy", "recalc,recalc"}, 2, "", "recalc is there twice"},
		{[]string{"run", good, "--repeat", "0"}, 2, "", "--repeat 0: it may be 1 to 1000"},
		{[]string{"__complete", "run", "--strategy", ""}, 0, "recalc", ""},
		{[]string{"check", good, idle}, 0, "good.yaml: ok", ""},
		{[]string{"check", good, bad}, 2, "good.yaml: ok", "bad.yaml:3: "},
		{[]string{"up", bad}, 2, "", "bad.yaml:3: "},
		{[]string{"up", good, "--base-port", "8400", "--base-stats", "8400"}, 2, "", "--base-port 8400 and --base-stats 8400: of 1 nodes"},
		{[]string{"up", good, "--base-port", "65535"}, 2, "", "not all between 1 and 65535"},
		{[]string{"fault", "partition", "node-1", "all"}, 2, "", "partition is done to whole nodes"},
		{[]string{"fault", "kill", "node-1", "brain"}, 2, "", "unknown part"},
		{[]string{"fault", "kill", "node-1", "spoa"}, 1, "", "no federation is up in .run"},
		{[]string{"fault", "partition"}, 2, "", "a node and a part are expected"},
		{[]string{"fault", "heal", "node-1"}, 1, "", "no federation is up in .run"},
		{[]string{"exec", "node-1"}, 2, "", "See 'dfaas-emulator exec --help'"},
		{[]string{"exec", "node-1", "--"}, 2, "", "a command is expected"},
		{[]string{"exec", "node-1", "--", "true"}, 1, "", "no federation is up in .run"},
		{[]string{"link", "node-1"}, 2, "", "two nodes and a change"},
		{[]string{"link", "node-1", "node-2", "delay"}, 2, "", `"delay": down, up, or one of delay, jitter, rate, loss`},
		{[]string{"link", "node-1", "node-2", "delay=5"}, 2, "", "a duration like 20ms"},
		{[]string{"link", "-o", "xml"}, 2, "", "unknown output format"},
		{[]string{"link"}, 1, "", "no federation is up in .run"},
		{[]string{"logs", "node-1"}, 1, "", "no logs of node-1"},
		{[]string{"logs", "../node-1"}, 2, "", "no name of a node"},
		{[]string{"logs", "node-1", "brain"}, 2, "", "unknown part"},
		{[]string{"ps"}, 1, "", "no federation is up in .run"},
		{[]string{"ps", "-o", "xml"}, 2, "", "unknown output format"},
		{[]string{"down"}, 0, "no federation is up in .run", ""},
		{[]string{"up", good, "--dir", strings.Repeat("long/", 30)}, 1, "", "the path of a socket may have 107"},
		{[]string{"__complete", "fault", ""}, 0, "reload", ""},
	} {
		code, stdout, stderr := emulator.execute(t, dir, test.args...)
		if code != test.code || !strings.Contains(stdout, test.stdout) || !strings.Contains(stderr, test.stderr) {
			t.Errorf("%v: exit code %d\n%s%s\nwant %d, %q, %q", test.args, code, stdout, stderr, test.code, test.stdout, test.stderr)
		}
	}
}

func TestRun(t *testing.T) {
	emulator, dir := build(t), t.TempDir()
	file := write(t, filepath.Join(dir, "tiny.yaml"), tiny)
	code, stdout, stderr := emulator.execute(t, dir, "run", file, "--live")
	if code != 0 || !strings.Contains(stdout, "node-1 20") || !strings.Contains(stdout, "200: 40") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, "out/tiny/plot.svg")); err != nil {
		t.Error(err)
	}
	write(t, file, strings.Replace(tiny, "200: 19..", "200: ..5", 1))
	code, stdout, stderr = emulator.execute(t, dir, "run", file)
	if code != 1 || !strings.Contains(stderr, "tiny.yaml:6: all loads, seconds 0 to 2: status 200: 20/s, expected 0..5") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// TestCompare: each strategy is run, and all are in one table and one picture.
func TestCompare(t *testing.T) {
	emulator, dir := build(t), t.TempDir()
	file := write(t, filepath.Join(dir, "tiny.yaml"), tiny)
	code, stdout, stderr := emulator.execute(t, dir, "run", file, "--strategy", "headroom,alllocal@500ms", "-o", "out")
	if code != 0 || !strings.Contains(stdout, "run 2 of 2, alllocal@500ms: ") || !strings.Contains(stdout, "comparison.{txt,csv,svg,png}") {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	rows, err := os.ReadFile(filepath.Join(dir, "out/comparison.csv"))
	if err != nil || !regexp.MustCompile(`(?m)^alllocal@500ms,1,1,[^,]+,tiny,0,,,40,40,100\.000,`).Match(rows) {
		t.Errorf("%s, %v", rows, err)
	}
	for _, name := range []string{"comparison.svg", "comparison.png", "runs/headroom-1/summary.json", "runs/alllocal@500ms-1/load-1.json"} {
		if _, err := os.Stat(filepath.Join(dir, "out", name)); err != nil {
			t.Error(err)
		}
	}
}

// Where limits cannot be had, a scenario that has some is refused, unless they are to be
// ignored.
func TestLimits(t *testing.T) {
	emulator, dir := build(t), t.TempDir()
	file := write(t, filepath.Join(dir, "tiny.yaml"), strings.Replace(tiny, "name: node-1,", "name: node-1, cpus: 1, memory: 1GB,", 1))
	if code, stdout, stderr := emulator.execute(t, dir, "run", file); code != 0 && !strings.Contains(stderr, quota.ErrUnavailable.Error()) {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if code, stdout, stderr := emulator.execute(t, dir, "run", file, "--ignore-limits"); code != 0 {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// up leaves a federation running that ps shows, fault acts on and down stops.
func TestUpAndDown(t *testing.T) {
	emulator, dir := build(t), filepath.Join(t.TempDir(), "in my dir")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := write(t, filepath.Join(dir, "tiny.yaml"), tiny)
	base, stats := freeBases(t, 1)
	code, stdout, stderr := emulator.execute(t, dir, "up", file, "--base-port", base, "--base-stats", stats)
	if code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	t.Cleanup(func() { emulator.execute(t, dir, "down") })
	code, _, stderr = emulator.execute(t, dir, "up", file)
	if code != 1 || !strings.Contains(stderr, "a federation is up in .run already") {
		t.Errorf("up twice: %d %s", code, stderr)
	}
	node := state(t, emulator, dir).Nodes[0]
	if !strings.Contains(stdout, node.URL+"/function/NAME") || !strings.Contains(stdout, node.Stats) || !node.Healthy {
		t.Errorf("node %+v", node)
	}
	response, err := http.Post(node.URL+"/function/funca", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != "hello" {
		t.Errorf("funca answers %q, %v", body, err)
	}

	if code, _, stderr = emulator.execute(t, dir, "fault", "kill", "node-1", "spoa"); code != 0 {
		t.Errorf("fault: %d %s", code, stderr)
	}
	code, _, stderr = emulator.execute(t, dir, "fault", "kill", "node-9", "spoa")
	if code != 1 || !strings.Contains(stderr, `no node "node-9"`) {
		t.Errorf("fault on a missing node: %d %s", code, stderr)
	}
	_, stdout, _ = emulator.execute(t, dir, "ps")
	for _, want := range []string{"unhealthy", "spoa is dead", "controller  running"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("ps does not say %q:\n%s", want, stdout)
		}
	}
	before := state(t, emulator, dir)
	if code, stdout, stderr = emulator.execute(t, dir, "down"); code != 0 {
		t.Errorf("down: %d\n%s%s", code, stdout, stderr)
	}
	for _, part := range before.Nodes[0].Parts {
		if part.PID != 0 && syscall.Kill(part.PID, 0) == nil {
			t.Errorf("%s is still there", part.Part)
		}
	}
}

// freeBases returns two numbers after each of which so many ports are free. They are below
// those that the kernel gives away, and that other tests look for.
func freeBases(t *testing.T, ports int) (base, stats string) {
	t.Helper()
	free := func(first int) bool {
		for number := first; number < first+2*ports; number++ {
			release, err := port.Keep(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(number)))
			if err != nil {
				return false
			}
			release()
		}
		return true
	}
	for range 1000 {
		if first := 8_000 + rand.IntN(1_900); free(first) {
			return strconv.Itoa(first - 1), strconv.Itoa(first + ports - 1)
		}
	}
	t.Fatal("no free ports found")
	return "", ""
}

func state(t *testing.T, emulator program, dir string) supervisor.State {
	t.Helper()
	code, stdout, stderr := emulator.execute(t, dir, "ps", "-o", "json")
	var state supervisor.State
	if err := json.Unmarshal([]byte(stdout), &state); code != 0 || err != nil || len(state.Nodes) != 1 {
		t.Fatalf("ps: %d %v\n%s%s", code, err, stdout, stderr)
	}
	return state
}

// A federation that cannot start says why, and nothing stays behind.
func TestUpFails(t *testing.T) {
	emulator, dir := build(t), t.TempDir()
	file := write(t, filepath.Join(dir, "tiny.yaml"), strings.Replace(tiny, "process: cat", "process: no-such-program", 1))
	base, stats := freeBases(t, 1)
	code, _, stderr := emulator.execute(t, dir, "up", file, "--base-port", base, "--base-stats", stats)
	if code != 1 || !strings.Contains(stderr, "no-such-program") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if code, stdout, _ := emulator.execute(t, dir, "down"); code != 0 || !strings.Contains(stdout, "no federation is up") {
		t.Errorf("something stays behind: %d %s", code, stdout)
	}
}

const pair = `name: pair
period: 200ms
topology: {kind: line, delay: 5ms}
nodes:
  - {name: node-1, functions: &f [{name: funca, process: cat, maxrate: 50}]}
  - {name: node-2, functions: *f}
`

// Nodes with networks of their own are reached from here, commands are run on them, their
// links change, and nothing stays behind when the supervisor is killed.
func TestUpWithLinks(t *testing.T) {
	emulator, dir := build(t), t.TempDir()
	file := write(t, filepath.Join(dir, "pair.yaml"), pair)
	base, stats := freeBases(t, 2)
	code, stdout, stderr := emulator.execute(t, dir, "up", file, "--base-port", base, "--base-stats", stats)
	if strings.Contains(stderr, network.ErrUnavailable.Error()) || strings.Contains(stderr, link.ErrNoTUN.Error()) {
		t.Skip(stderr)
	}
	if code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	t.Cleanup(func() { emulator.execute(t, dir, "down") })
	says := func(want string, args ...string) {
		t.Helper()
		code, stdout, stderr := emulator.execute(t, dir, args...)
		if code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("%v: exit code %d, no %q in\n%s%s", args, code, want, stdout, stderr)
		}
	}
	var before supervisor.State
	_, stdout, _ = emulator.execute(t, dir, "ps", "-o", "json")
	if err := json.Unmarshal([]byte(stdout), &before); err != nil || len(before.Nodes) != 2 || len(before.Links) != 1 {
		t.Fatalf("ps: %v\n%s", err, stdout)
	}
	response, err := http.Post(before.Nodes[1].URL+"/function/funca", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != "hello" {
		t.Errorf("funca answers %q, %v", body, err)
	}
	if code, _, _ := emulator.execute(t, dir, "exec", "node-2", "--", "sh", "-c", `[ "$NODE $URL" = "node-2 http://10.77.0.2:80" ] && exit 7`); code != 7 {
		t.Errorf("exec: exit code %d, want 7", code)
	}
	says("eth0", "exec", "node-2", "--", "cat", "/proc/net/dev")
	says("node-1", "exec", "node-2", "--", "dfaasctl", "peers")
	says("delay=5ms", "link")
	says("", "link", "node-2", "node-1", "delay=7ms", "loss=1%", "down")
	says("down   delay=7ms loss=1%", "link")
	says("", "link", "node-2", "node-1", "up")
	says("", "fault", "partition", "node-1")
	says("", "fault", "heal")
	says("dfaas-controller is running", "logs", "node-1", "controller", "-n", "-1")
	code, _, stderr = emulator.execute(t, dir, "link", "node-1", "node-3", "up")
	if code != 1 || !strings.Contains(stderr, `no host "node-3"`) {
		t.Errorf("a link to nobody: %d %s", code, stderr)
	}
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, n := range before.Nodes {
		for _, p := range n.Parts {
			gone(t, p.PID)
		}
	}
	says("no federation is up", "down")
	if _, err := os.Lstat(filepath.Join(dir, ".run", supervisor.SocketFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// gone waits for the end of a process that is not a child.
func gone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); syscall.Kill(pid, 0) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d is still there", pid)
		}
	}
}

func TestFollowLogs(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "node-1"), 0o700); err != nil {
		t.Fatal(err)
	}
	path := write(t, filepath.Join(dir, "node-1", "spoa.log"), "one\ntwo\n"+strings.Repeat("x", 5000)+"\nthr")
	logs, err := openLogs(dir, "node-1", []scenario.Part{scenario.SPOA, scenario.HAProxy})
	if err != nil {
		t.Fatal(err)
	}
	defer logs.close()
	var out bytes.Buffer
	expect := func(when, want string) {
		t.Helper()
		for _, f := range logs {
			if err := f.copy(&out); err != nil {
				t.Fatal(err)
			}
		}
		if out.String() != want {
			t.Errorf("%s: %q, want %q", when, out.String(), want)
		}
		out.Reset()
	}
	if err := logs.tail(&out, 3); err != nil {
		t.Fatal(err)
	}
	const spoa = "spoa        "
	expect("at first", spoa+"two\n"+spoa+strings.Repeat("x", 5000)+"\n")
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString("ee\nfour"); err != nil {
		t.Fatal(err)
	}
	expect("more", spoa+"three\n")
	if err := file.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString("anew\n"); err != nil {
		t.Fatal(err)
	}
	expect("begun anew", spoa+"anew\n")
}
