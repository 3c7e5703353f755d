package provider

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const testUsers = "700000-765535"

// startWithUsers runs a provider whose functions have users of their own, and are
// kept apart by nothing else.
func startWithUsers(t *testing.T) (p *testProvider, stateDir string) {
	t.Helper()
	if checkCapabilities() != nil {
		t.Skip("only who may change users can start such a provider")
	}
	o := testOptions(t.TempDir())
	if err := os.Chmod(filepath.Dir(o.StateDir), 0o755); err != nil {
		t.Fatal(err)
	}
	o.FunctionUsers, o.NoConfinement = testUsers, true
	return start(t, o), o.StateDir
}

// With users of their own, functions cannot end each other, look into each other's
// processes, or read each other's secrets and files, whatever the kernel.
func TestFunctionUsers(t *testing.T) {
	t.Parallel()
	p, stateDir := startWithUsers(t)
	open := t.TempDir()
	if err := os.Chmod(open, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	deploy := func(method, name, command string, secrets ...string) {
		t.Helper()
		text := script(t, command)
		readable(t, text)
		p.want(202, "", method, "/system/functions", object{"service": name, "image": "local", "envProcess": text, "secrets": secrets})
	}
	for _, name := range []string{"own", "foreign"} {
		p.want(202, "", "POST", "/system/secrets", object{"name": name, "value": "the " + name + " secret"})
	}
	pidFile := filepath.Join(open, "pid")
	deploy("POST", "other", "umask 077; echo kept >"+open+"/file; echo $$ >"+pidFile+"; exec sleep 60", "foreign")
	go func() { _, _ = p.do("GET", "/function/other", nil) }()
	other := pidIn(t, pidFile)

	deploy("POST", "thief", "true")
	ids := make(map[string]bool)
	attempt := func(command string) (int, string) {
		t.Helper()
		deploy("PUT", "thief", command, "own")
		return p.do("POST", "/function/thief", strings.Repeat("x", spoolInMemory+1))
	}
	for _, command := range []string{
		fmt.Sprintf("kill -9 %d", other),
		fmt.Sprintf("kill -9 %d", os.Getpid()),
		fmt.Sprintf("cat /proc/%d/environ", other),
		fmt.Sprintf("cat /proc/%d/environ", os.Getpid()),
		"cat " + open + "/file",
		"echo x >" + open + "/file",
		"cat " + stateDir + "/mounts/*/foreign", // even if its number was known
		"for i in $(seq 9); do cat " + stateDir + "/mounts/$i/foreign && exit 0; done; exit 1",
		"cat " + stateDir + "/secrets/openfaas-fn/own",
		"cat " + stateDir + "/functions.json",
		"echo x >$secret_mount_path/new",
	} {
		if status, text := attempt(command); status != 500 {
			t.Errorf("%s: %d %s", command, status, text)
		}
	}
	for command, want := range map[string]string{
		"cat $secret_mount_path/own":               "the own secret",
		"wc -c <&0":                                fmt.Sprint(spoolInMemory + 1),
		"wc -c /dev/stdin":                         fmt.Sprint(spoolInMemory + 1),
		"echo x >/dev/stderr; echo y >/dev/stdout": "y",
		"id -G": "7",
	} {
		if status, text := attempt(command); status != 200 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s, want %q", command, status, text, want)
		}
	}
	streams := script(t, "wc -c /dev/stdin")
	readable(t, streams)
	p.want(202, "", "POST", "/system/functions", object{"service": "streams", "image": "local", "envProcess": streams, "envVars": object{"mode": "streaming"}})
	if status, text := p.do("POST", "/function/streams", strings.Repeat("x", spoolInMemory+1)); status != 200 || !strings.Contains(text, fmt.Sprint(spoolInMemory+1)) {
		t.Errorf("while the body comes in: %d %s", status, text)
	}
	for range 2 { // the same with each deployment
		_, text := attempt("id -u")
		ids[strings.TrimSpace(text)] = true
	}
	deploy("POST", "third", "id -u")
	_, text := p.do("GET", "/function/third", nil)
	ids[strings.TrimSpace(text)] = true
	for id := range ids {
		if n, err := strconv.Atoi(id); err != nil || n < 700000 || n > 765535 || len(ids) != 2 {
			t.Errorf("users are %v", ids)
		}
	}
	// A secret that changes is there at once, and belongs to its function again.
	p.want(202, "", "PUT", "/system/secrets", object{"name": "own", "value": "changed"})
	if status, text := attempt("cat $secret_mount_path/own"); status != 200 || text != "changed" {
		t.Errorf("after a change: %d %s", status, text)
	}
	// The provider ends what runs for too long.
	slow := script(t, "echo $$ >"+pidFile+"2; exec sleep 60")
	readable(t, slow)
	p.want(202, "", "POST", "/system/functions", object{"service": "slow", "image": "local", "envProcess": slow, "envVars": object{"exec_timeout": "3s"}}) // of which it needs some to begin
	p.want(504, "", "GET", "/function/slow", nil)
	gone(t, pidIn(t, pidFile+"2"))
	if err := syscall.Kill(other, syscall.SIGKILL); err != nil {
		t.Errorf("the other function's process: %v", err)
	}
}

// TestFunctionUsersWithoutRoot: the rights that it takes are not the functions'.
func TestFunctionUsersWithoutRoot(t *testing.T) {
	t.Setenv("DFAAS_TEST_USERS", testUsers)
	p, _, _ := startUnprivileged(t, "setuid", "setgid", "chown", "kill")
	p.want(202, "", "POST", "/system/secrets", object{"name": "own", "value": "the own secret"})
	text := script(t, "id -u; grep -E '^Cap(Prm|Eff|Amb)' /proc/self/status; cat $secret_mount_path/own")
	readable(t, text)
	p.want(202, "", "POST", "/system/functions", object{"service": "f", "image": "local", "envProcess": text, "secrets": []string{"own"}})
	status, answer := p.do("POST", "/function/f", strings.Repeat("x", spoolInMemory+1))
	if status != 200 || !strings.HasPrefix(answer, "7") || strings.Count(answer, "\t0000000000000000\n") != 3 || !strings.HasSuffix(answer, "the own secret") {
		t.Errorf("%d %s", status, answer)
	}
}

func TestParseUsers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", testUsers: "", "10000-11999": "",
		"1000-65535": "from 10000 on", "700000": "FIRST-LAST", "700000-": "FIRST-LAST", "a-b": "FIRST-LAST", "-1-5": "FIRST-LAST",
		"700000-700999": "2000 ids at least", "765535-700000": "2000 ids at least", "60000-70000": "nobody's", "700000-4294967295": "FIRST-LAST",
	} {
		if _, err := parseUsers(text); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// Each function has one user, none has another's, and what was left can be taken.
func TestUsers(t *testing.T) {
	t.Parallel()
	u := newUsers(userRange{700, 702})
	first, err := u.take("a")
	again, err2 := u.take("a")
	if err != nil || err2 != nil || first != again {
		t.Fatal(first, again, err, err2)
	}
	taken := map[uint32]bool{first: true}
	for _, name := range []string{"b", "c"} {
		id, err := u.take(name)
		if err != nil || taken[id] || id < 700 || id > 702 {
			t.Errorf("%s gets %d, %v", name, id, err)
		}
		taken[id] = true
	}
	if _, err := u.take("d"); err == nil {
		t.Error("one id too many was given")
	}
	u.leave(first)
	if _, err := u.take("d"); err == nil {
		t.Error("a user was given to two functions")
	}
	u.leave(first)
	if id, err := u.take("d"); err != nil || id != first {
		t.Error(id, err)
	}
	var none *users
	if id, err := none.take("a"); id != 0 || err != nil {
		t.Error(id, err)
	}
	none.leave(0)
}
