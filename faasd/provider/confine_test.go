package provider

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// nobody is the user that the provider of TestConfinement runs as: to root few
// things are forbidden.
const nobody = 65534

// unprivilegedDir makes a directory that belongs to nobody, in one that all users
// can reach.
func unprivilegedDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for path := dir; path != os.TempDir() && path != "/"; path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	return dir
}

// startUnprivileged runs a provider with a password as nobody, with some capabilities.
func startUnprivileged(t *testing.T, capabilities ...string) (p *childProvider, stateDir, authDir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can start a provider as another user")
	}
	if _, err := newConfinement(); err != nil {
		t.Skip(err)
	}
	stateDir, authDir = unprivilegedDir(t), unprivilegedDir(t)
	vault := unprivilegedDir(t)
	for name, text := range map[string]string{"basic-auth-user": "admin", "basic-auth-password": "open-sesame"} {
		path := filepath.Join(vault, name)
		if err := os.Symlink(path, filepath.Join(authDir, name)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(unprivilegedDir(t), "provider.test")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", self, program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Setenv("DFAAS_TEST_AUTH_DIR", authDir)
	become := []string{"setpriv", "--reuid", fmt.Sprint(nobody), "--regid", fmt.Sprint(nobody), "--clear-groups"}
	if len(capabilities) > 0 {
		list := "-all,+" + strings.Join(capabilities, ",+")
		become = append(become, "--inh-caps="+list, "--ambient-caps="+list, "--bounding-set="+list)
	}
	p = startChild(t, stateDir, append(become, "sh", "-c", "exec "+program+` "$1"`)...)
	p.url = strings.Replace(p.url, "http://", "http://admin:open-sesame@", 1)
	return p, stateDir, authDir
}

// A function reads its own secrets, and neither those of others nor anything that
// is the provider's: files, memory, environment.
func TestConfinement(t *testing.T) {
	p, stateDir, authDir := startUnprivileged(t)
	open := unprivilegedDir(t)
	for _, name := range []string{"own", "foreign"} {
		p.want(202, "", "POST", "/system/secrets", object{"name": name, "value": "the " + name + " secret"})
	}
	deploy := func(name, command string, secrets ...string) {
		t.Helper()
		p.want(202, "", "POST", "/system/functions", object{"service": name, "image": "local", "envProcess": command, "secrets": secrets,
			"envVars": object{"password": "of " + name}})
	}
	// A process of another function, whose environment holds something.
	pidFile := filepath.Join(open, "pid")
	other := script(t, fmt.Sprintf("echo $$ >%s; exec sleep 60", pidFile))
	readable(t, other)
	deploy("other", other, "foreign")
	go func() { _, _ = p.do("GET", "/function/other", nil) }()
	otherPid := pidIn(t, pidFile)
	pid := p.cmd.Process.Pid

	attempt := func(command string) (int, string) {
		t.Helper()
		text := script(t, command)
		readable(t, text)
		p.want(202, "", "POST", "/system/functions", object{"service": "thief", "image": "local", "envProcess": text, "secrets": []string{"own"}})
		defer p.want(202, "", "DELETE", "/system/functions", object{"functionName": "thief"})
		return p.do("POST", "/function/thief", strings.Repeat("x", spoolInMemory+1))
	}
	for _, command := range []string{
		"cat " + authDir + "/basic-auth-password",
		"cat $(readlink " + authDir + "/basic-auth-password)",
		"cat " + stateDir + "/secrets/openfaas-fn/foreign",
		"cat " + stateDir + "/secrets/openfaas-fn/own", // by its other name
		"cat " + stateDir + "/mounts/*/foreign",
		"cat " + stateDir + "/functions.json",
		"echo x >" + stateDir + "/functions.json",
		"echo x >" + stateDir + "/new",
		"echo x >$secret_mount_path/new",
		"rm " + stateDir + "/functions.json",
		"rm -r " + stateDir + "/secrets/openfaas-fn",
		"mv " + stateDir + "/secrets " + open + "/loot",
		fmt.Sprintf("cat /proc/%d/environ", pid),
		fmt.Sprintf("cat /proc/%d/maps", pid),
		fmt.Sprintf("cat /proc/%d/task/*/environ", pid),
		fmt.Sprintf("cat /proc/%d/root%s/functions.json", pid, stateDir),
		fmt.Sprintf("cat /proc/%d/environ", otherPid),
		fmt.Sprintf("cat /proc/%d/cwd/etc/passwd", otherPid),
	} {
		if status, text := attempt(command); status != 500 {
			t.Errorf("%s: %d %s", command, status, text)
		}
	}
	if c, err := newConfinement(); err == nil && c.scoped != 0 {
		for _, victim := range []int{pid, otherPid} {
			if status, text := attempt(fmt.Sprintf("kill -9 %d", victim)); status != 500 {
				t.Errorf("kill %d: %d %s", victim, status, text)
			}
		}
	}
	for command, want := range map[string]string{
		"cat $secret_mount_path/own": "the own secret",
		"cat /etc/passwd":            "root:",
		"ls / " + stateDir:           "functions.json", // names are no secrets
		"wc -c </dev/stdin":          fmt.Sprint(spoolInMemory + 1),
		"cat /dev/stdin | wc -c":     fmt.Sprint(spoolInMemory + 1),
		"wc -c /dev/stdin":           fmt.Sprint(spoolInMemory + 1),
		"echo kept >" + open + "/a; mv " + open + "/a " + open + "/b; cat " + open + "/b": "kept",
		"cat /proc/self/environ": "secret_mount_path",
	} {
		if status, text := attempt(command); status != 200 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s, want %q", command, status, text, want)
		}
	}
	if status, text := p.do("GET", "/system/functions", nil); status != 200 || !strings.Contains(text, "other") {
		t.Errorf("the state: %d %s", status, text)
	}
	if err := syscall.Kill(otherPid, 0); err != nil {
		t.Errorf("the other function's process: %v", err)
	}
}

// readable lets all users read the script that a command runs.
func readable(t *testing.T, command string) {
	t.Helper()
	path := strings.TrimPrefix(command, "sh ")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(path); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// Secrets are where OpenFaaS puts them, for commands and variables that say so,
// and follow changes.
func TestSecretsOfAFunction(t *testing.T) {
	p := startNew(t)
	p.want(202, "", "POST", "/system/secrets", object{"name": "key", "value": "first"})
	p.want(202, "", "POST", "/system/secrets", object{"name": "other", "value": "second"})
	deployment := object{"service": "reader", "image": "local", "secrets": []string{"key"}, "envProcess": "cat /var/openfaas/secrets/key"}
	p.want(202, "", "POST", "/system/functions", deployment)
	p.want(200, "first", "GET", "/function/reader", nil)
	p.want(202, "", "PUT", "/system/secrets", object{"name": "key", "value": "changed"})
	p.want(200, "changed", "GET", "/function/reader", nil)
	p.want(202, "", "PUT", "/system/functions", deployment)
	p.want(200, "changed", "GET", "/function/reader", nil)

	p.want(202, "", "POST", "/system/functions", object{"service": "variable", "image": "local", "secrets": []string{"key", "other"},
		"envProcess": script(t, `cat "$file" && ls "$dir"`), "envVars": object{"file": "/var/openfaas/secrets/other", "dir": "/var/openfaas/secrets"}})
	p.want(200, "secondkey\nother\n", "GET", "/function/variable", nil)
	p.want(202, "", "DELETE", "/system/secrets", object{"name": "other"})
	p.want(500, "", "GET", "/function/variable", nil)
}

// A runner gives its thread up when nothing runs, and takes another one.
func TestRunnerThreads(t *testing.T) {
	c, err := newConfinement(t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	book, err := newLogBook("test", "openfaas-fn")
	if err != nil {
		t.Fatal(err)
	}
	defer book.leave()
	r := newRunner(&spec{argv: []string{"/bin/true"}}, book, t.TempDir(), c)
	runOnce := func() error {
		cmd := r.command(context.Background())
		if err := r.start(cmd); err != nil {
			return err
		}
		defer r.ended()
		return cmd.Wait()
	}
	for range 3 {
		if err := runOnce(); err != nil {
			t.Fatal(err)
		}
		if !r.idle() {
			t.Error("something runs")
		}
	}
	r.close()
	if err := runOnce(); err == nil {
		t.Error("a process was started after the end")
	}
}

// BenchmarkFirstStart is the first process of a function, or the first after it
// was idle for long: a thread is confined for it.
func BenchmarkFirstStart(b *testing.B) {
	dir := b.TempDir()
	c, err := newConfinement(dir)
	if err != nil {
		b.Skip(err)
	}
	book, err := newLogBook("test", "openfaas-fn")
	if err != nil {
		b.Fatal(err)
	}
	defer book.leave()
	r := newRunner(&spec{argv: []string{"/bin/true"}}, book, dir, c)
	for b.Loop() {
		cmd := r.command(b.Context())
		if err := r.start(cmd); err != nil {
			b.Fatal(err)
		}
		_ = cmd.Wait()
		r.ended()
		r.idle()
	}
}
