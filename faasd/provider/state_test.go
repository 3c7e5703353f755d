package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func TestRestartRestores(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, testOptions(dir))
	p.deploy("cat", "cat", map[string]string{"max_inflight": "7"})
	p.deploy("gone", "cat", nil)
	p.want(202, "", "POST", "/system/functions", object{"service": "hello", "namespace": "dev", "image": "x", "envProcess": "echo hello"})
	p.startHTTP("web", nil)
	p.want(202, "", "DELETE", "/system/functions", object{"functionName": "gone"})
	p.want(202, "", "POST", "/system/scale-function/cat", object{"replicas": 0})
	p.want(202, "", "POST", "/system/secrets", object{"name": "key", "value": "kept"})
	before := p.want(200, "", "GET", "/system/functions", nil)
	pid := p.upstreamPid("web")
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	gone(t, pid)

	p = start(t, testOptions(dir))
	eventually(t, "all is as before", func() bool {
		_, text := p.do("GET", "/system/functions", nil)
		return text == strings.ReplaceAll(before, `"invocationCount":1,`, "")
	})
	p.want(200, "hello", "GET", "/function/hello.dev", nil)
	p.want(404, "", "GET", "/function/gone", nil)
	p.want(200, "x", "POST", "/function/cat", "x")
	p.upstreamPid("web")
	p.want(200, "key", "GET", "/system/secrets", nil)
}

// A function that may not or cannot run any more stays and says why.
func TestRestartWithLess(t *testing.T) {
	dir := t.TempDir()
	p := start(t, testOptions(dir))
	p.deploy("id", "id", nil)
	p.deploy("figlet", "figlet", nil)
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	o := testOptions(dir)
	o.AllowProcesses = false
	p = start(t, o)
	p.want(503, "--allow-processes", "GET", "/function/id", nil)
	p.want(200, `"name":"id"`, "GET", "/system/functions", nil)
	if text := p.want(200, "", "GET", "/system/function/id", nil); strings.Contains(text, "availableReplicas") {
		t.Errorf("available: %s", text)
	}
	p.want(202, "", "POST", "/system/scale-function/id", object{"replicas": 0})
	p.want(202, "", "DELETE", "/system/functions", object{"functionName": "id"})
}

func TestStateIsReadStrictly(t *testing.T) {
	for name, text := range map[string]string{
		"cut off":       `{"version":1,"functions":[{"depl`,
		"empty":         ``,
		"newer":         `{"version":2,"functions":[]}`,
		"unknown field": `{"version":1,"functions":[],"more":1}`,
		"bad name":      `{"version":1,"functions":[{"deployment":{"service":"../x","image":"x"}}]}`,
		"twice": `{"version":1,"functions":[{"deployment":{"service":"x","image":"cat"}},
			{"deployment":{"service":"x","namespace":"openfaas-fn","image":"cat"}}]}`,
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "functions.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := Run(context.Background(), testOptions(dir), zerolog.Nop())
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := os.ReadFile(path); string(after) != text {
			t.Errorf("%s: the file was changed: %v", name, err)
		}
	}
}

// What could not be read again is not saved.
func TestStateIsBounded(t *testing.T) {
	dir, err := openStateDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.close()
	small := []record{{Replicas: 1}}
	if err := dir.save(small); err != nil {
		t.Fatal(err)
	}
	large := record{}
	large.Deployment.EnvProcess = strings.Repeat("x", maxStateSize)
	if err := dir.save([]record{large}); statusOf(err) != http.StatusConflict {
		t.Errorf("too large a state: %v", err)
	}
	if records, err := dir.load(); err != nil || len(records) != 1 || records[0].Replicas != 1 {
		t.Errorf("afterwards: %d functions, %v", len(records), err)
	}
}

func TestStateDirIsOwnedByOne(t *testing.T) {
	dir := t.TempDir()
	start(t, testOptions(dir))
	err := Run(context.Background(), testOptions(dir), zerolog.Nop())
	if err == nil || !strings.Contains(err.Error(), "--state-dir") {
		t.Errorf("a second provider: %v", err)
	}
}

func TestTwoProviders(t *testing.T) {
	t.Parallel()
	one, two := startNew(t), startNew(t)
	for i, p := range []*testProvider{one, two} {
		p.deploy("who", fmt.Sprintf("echo provider-%d", i), nil)
		p.startHTTP("web", map[string]string{"greeting": fmt.Sprint("greeting-", i)})
	}
	for i, p := range []*testProvider{one, two} {
		p.want(200, fmt.Sprintf("provider-%d", i), "GET", "/function/who", nil)
		if _, _, header := p.exchange("GET", "/function/web", nil, nil); header.Get("X-Greeting") != fmt.Sprint("greeting-", i) {
			t.Errorf("provider %d: %v", i, header)
		}
	}
}

// kill -9 leaves no process of a function and no broken state.
func TestKilledProvider(t *testing.T) {
	t.Parallel()
	state, dir := t.TempDir(), t.TempDir()
	p := startChild(t, state)
	path := filepath.Join(dir, "pid")
	p.deploy("slow", script(t, "echo $$ >"+path+"; exec sleep 60"), nil)
	p.startHTTP("web", nil)
	web := p.upstreamPid("web")
	go p.do("GET", "/function/slow", nil)
	slow := pidIn(t, path)
	p.kill(syscall.SIGKILL)
	gone(t, slow)
	gone(t, web)

	p = startChild(t, state)
	p.want(200, `"name":"slow"`, "GET", "/system/functions", nil)
	p.upstreamPid("web")
}

// SIGTERM lets a call end that can, and ends what cannot.
func TestOrderlyStop(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := startChild(t, t.TempDir())
	quick, slow := filepath.Join(dir, "quick"), filepath.Join(dir, "slow")
	p.deploy("quick", script(t, "echo $$ >"+quick+"; sleep 1; echo done"), nil)
	p.deploy("slow", script(t, "echo $$ >"+slow+"; sleep 60"), nil)
	answers := make(chan string, 2)
	for _, name := range []string{"quick", "slow"} {
		go func() {
			status, text := p.do("GET", "/function/"+name, nil)
			answers <- fmt.Sprintln(name, status, text)
		}()
	}
	pidIn(t, quick)
	pid := pidIn(t, slow)
	p.kill(syscall.SIGTERM)
	if !p.cmd.ProcessState.Success() {
		t.Errorf("%s\n%s", p.cmd.ProcessState, p.stderr)
	}
	gone(t, pid)
	both := <-answers + <-answers
	if !strings.Contains(both, "quick 200 done") || !strings.Contains(both, "slow 503") {
		t.Errorf("answers: %s", both)
	}
}

// Files of this provider may not grow beyond a few kilobytes: the disk is full.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	p := startChild(t, state, "prlimit", "--fsize=2000")
	p.deploy("cat", "cat", nil)
	before, err := os.ReadFile(filepath.Join(state, "functions.json"))
	if err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("x", 4000)
	label := object{"service": "cat", "image": "cat", "labels": object{"l": large}}
	p.want(507, "make room", "PUT", "/system/functions", label)
	label["service"] = "other"
	p.want(507, "make room", "POST", "/system/functions", label)
	p.want(507, "make room", "POST", "/system/secrets", object{"name": "large", "value": large})
	p.want(404, "", "GET", "/function/other", nil)
	p.want(200, "x", "POST", "/function/cat", "x")
	p.want(200, "[]", "GET", "/system/secrets", nil)
	p.want(202, "", "POST", "/system/functions", object{"service": "small", "image": "cat"})
	p.want(507, "could not be run", "POST", "/function/cat", strings.Repeat("x", spoolInMemory+1))
	p.want(507, "disk", "POST", "/async-function/cat", "x")
	p.kill(syscall.SIGKILL)

	entries, err := filepath.Glob(filepath.Join(state, tempPrefix+"*"))
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v %v", entries, err)
	}
	again := startChild(t, state)
	again.want(202, "", "POST", "/async-function/cat", "x")
	text := again.want(200, "", "GET", "/system/functions", nil)
	if strings.Contains(text, "xxx") || !strings.Contains(text, `"name":"small"`) || len(before) == 0 {
		t.Errorf("after the restart: %s", text)
	}
}

func TestDiskFullErrors(t *testing.T) {
	for err, want := range map[error]bool{
		syscall.ENOSPC: true, syscall.EDQUOT: true, &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}: true,
		syscall.EACCES: false, errors.New("x"): false,
	} {
		if got := diskFull(err); got != want {
			t.Errorf("diskFull(%v) = %v", err, got)
		}
		if got := statusOf(err) == http.StatusInsufficientStorage; got != want {
			t.Errorf("statusOf(%v) = %d", err, statusOf(err))
		}
	}
}

func TestLogBookForgetsTheOldest(t *testing.T) {
	b, err := newLogBook("f", "ns")
	if err != nil {
		t.Fatal(err)
	}
	defer b.leave()
	_, _, more := b.from(0)
	const written = 3000
	for i := range written {
		b.add(fmt.Sprint(i, strings.Repeat("x", 100)))
	}
	<-more
	lines, next, _ := b.from(0)
	size := 0
	for _, line := range lines {
		size += logCost(line)
	}
	if size > maxLogBytes || size < maxLogBytes/2 || next != written {
		t.Errorf("%d lines of %d bytes, next %d", len(lines), size, next)
	}
	if last := lines[len(lines)-1]; !strings.HasPrefix(last.Text, fmt.Sprint(written-1)) || time.Since(last.Timestamp) < 0 {
		t.Errorf("last line: %+v", last)
	}
	if rest, _, _ := b.from(next); len(rest) != 0 {
		t.Errorf("%d lines after the last", len(rest))
	}
	// Longer lines than a book takes come in pieces.
	if _, err := b.writer.WriteString(strings.Repeat("y", maxLogLine+10) + "\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "two pieces", func() bool {
		pieces, _, _ := b.from(next)
		return len(pieces) == 2 && len(pieces[0].Text) == maxLogLine && len(pieces[1].Text) == 10
	})
}
