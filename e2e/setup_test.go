package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/dfaas/dfaas/controller/api"
	"github.com/dfaas/dfaas/controller/config"
	"github.com/dfaas/dfaas/controller/identity"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// TestRefusedSetUps starts programs in ways in which they cannot work. Each ends
// at once and says why, in words that tell what to do.
func TestRefusedSetUps(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	path := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		if err := os.WriteFile(path(name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path(name)
	}
	key := path("federation.key")
	if err := identity.CreateFederationKey(key); err != nil {
		t.Fatal(err)
	}
	// configured writes a good configuration with one thing changed.
	configured := func(name string, change func(*config.Config)) string {
		t.Helper()
		conf := standalone(dir)
		conf.FederationKey = key
		change(&conf)
		text, err := yaml.Marshal(conf)
		if err != nil {
			t.Fatal(err)
		}
		return write(name, string(text), 0o600)
	}
	good := configured("good.yaml", func(*config.Config) {})
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	openKey := write("open.key", "secret", 0o644)

	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	_, used, _ := net.SplitHostPort(port.Addr().String())
	socket, err := net.Listen("unix", path("used.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()

	for _, set := range []struct {
		name    string
		program string
		args    []string
		code    int
		says    []string
	}{
		{"NoConfiguration", "dfaas-controller", []string{"--config", path("none.yaml")}, 2, []string{path("none.yaml"), "no such file"}},
		{"Directory", "dfaas-controller", []string{"--config", dir}, 2, []string{dir, "is a directory"}},
		{"HalfWritten", "dfaas-controller", []string{"--config", write("half.yaml", string(text)+"allow_peers: [\"12D3KooW", 0o600)}, 2,
			[]string{"half.yaml", "not valid YAML"}},
		{"Truncated", "dfaas-controller", []string{"--config", write("cut.yaml", "federation: x\nhttp_addr", 0o600)}, 2, []string{"cut.yaml"}},
		{"UnknownKey", "dfaas-controller", []string{"--config", write("key.yaml", string(text)+"federation_kye: x\n", 0o600)}, 2,
			[]string{"key.yaml:", "federation_kye", "did you mean federation_key?"}},
		{"BadValue", "dfaas-controller", []string{"--config", configured("value.yaml", func(c *config.Config) { c.Period = 1 })}, 2,
			[]string{"period", "100ms"}},
		{"NoTrust", "dfaas-controller", []string{"--config", configured("trust.yaml", func(c *config.Config) { c.FederationKey = "" })}, 2,
			[]string{"federation_key", "keygen", "open_federation"}},
		{"OpenKey", "dfaas-controller", []string{"--config", configured("open.yaml", func(c *config.Config) { c.FederationKey = openKey })}, 2,
			[]string{openKey, "chmod 600"}},
		{"OverlayPortInUse", "dfaas-controller", []string{"--config", good, "--listen", "/ip4/127.0.0.1/tcp/" + used}, 1,
			[]string{"listen", used, "in use", "another"}},
		{"MetricsPortInUse", "dfaas-controller", []string{"--config", good, "--metrics", "127.0.0.1:" + used}, 1,
			[]string{"metrics", used, "in use", "another"}},
		{"AdminSocketInUse", "dfaas-controller", []string{"--config", good, "--admin-socket", path("used.sock")}, 1,
			[]string{path("used.sock"), "in use by another process", "admin_socket"}},
		{"NoSuchDirectory", "dfaas-controller", []string{"--config", good, "--admin-socket", path("none/admin.sock")}, 1,
			[]string{path("none")}},
		{"SPOPSocketInUse", "dfaas-spoa", []string{"--listen", path("used.sock"), "--control", path("c.sock")}, 1,
			[]string{path("used.sock"), "in use"}},
		{"ControlSocketInUse", "dfaas-spoa", []string{"--listen", path("s.sock"), "--control", path("used.sock")}, 1,
			[]string{path("used.sock"), "in use"}},
		{"NotASocket", "dfaas-spoa", []string{"--listen", good, "--control", path("c.sock")}, 1, []string{good, "not a socket"}},
		{"NoSuchGroup", "dfaas-spoa", []string{"--listen", path("s.sock"), "--control", path("c.sock"), "--socket-group", "no-such-group"}, 1,
			[]string{"no-such-group"}},
		{"GatewayPortInUse", "dfaas-provider", []string{"--listen", "127.0.0.1:" + used, "--state-dir", path("state")}, 1,
			[]string{used, "in use", "--listen"}},
	} {
		t.Run(set.name, func(t *testing.T) {
			code, output := execute(t, set.program, set.args...)
			if code != set.code {
				t.Errorf("exit status %d, expected %d", code, set.code)
			}
			for _, text := range set.says {
				if !strings.Contains(output, text) {
					t.Errorf("it does not say %q", text)
				}
			}
			if t.Failed() {
				t.Logf("%s %v:\n%s", set.program, set.args, output)
			}
		})
	}
	// Nothing of that has taken the sockets from their owner.
	conn, err := net.Dial("unix", path("used.sock"))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// standalone is a valid configuration but for who may join, with all files in
// the directory and nobody to talk to.
func standalone(dir string) config.Config {
	conf := config.Default()
	conf.Identity = filepath.Join(dir, "identity.key")
	conf.Listen, conf.MDNS = []string{"/ip4/127.0.0.1/tcp/0"}, false
	conf.HTTPAddress, conf.Gateway = "127.0.0.1:9", "http://127.0.0.1:9"
	conf.HAProxySocket = filepath.Join(dir, "haproxy.sock")
	conf.SPOASocket = filepath.Join(dir, "control.sock")
	conf.AdminSocket = filepath.Join(dir, "admin.sock")
	return conf
}

func copyProgram(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o755)
}

// shortDir makes a directory whose path is short enough for sockets, and that
// every user may enter.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "dfaas-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// execute runs a program that should end by itself, and returns its exit status
// and all that it wrote.
func execute(t *testing.T, name string, args ...string) (code int, output string) {
	t.Helper()
	var out bytes.Buffer
	cmd := command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	ended := launch(t, cmd)
	select {
	case <-ended: // the exit status says how
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		<-ended
		t.Errorf("%s %v did not end", name, args)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// runUntilEnd runs a program until the test ends. It is asked to stop and must do
// so without an error.
func runUntilEnd(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	ended := launch(t, cmd)
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", cmd.Path, err)
		}
		if t.Failed() {
			t.Logf("%v:\n%s", cmd.Args, out.String())
		}
	})
}

// command is a program that was built, without settings from the environment; it
// dies with the tests.
func command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(program(name), args...)
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "DFAAS_") {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// launch starts the command and tells how it ended. The kernel ties its death to
// the thread that starts it, so that has to live as long.
func launch(t *testing.T, cmd *exec.Cmd) (ended <-chan error) {
	t.Helper()
	started, end := make(chan error), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			end <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	return end
}

// TestLackingParts: a controller that lacks what it needs, or may not touch it,
// runs, says so, and goes on when it is there.
func TestLackingParts(t *testing.T) {
	t.Parallel()
	c := start(t, federation.Options{Nodes: nodes(
		[]scenario.Function{process("here", "cat", 100)}, []scenario.Function{process("there", "cat", 100)},
	)})
	t.Run("NoHAProxy", func(t *testing.T) {
		act(t, c.one, scenario.Kill, scenario.HAProxy)
		c.awaitComponent(t, c.one.AdminSocket.String(), "haproxy", "start it")
		act(t, c.one, scenario.Restart, scenario.HAProxy)
		awaitServed(t, c.one, "/function/there", c.two)
	})
	t.Run("NoGateway", func(t *testing.T) {
		act(t, c.two, scenario.Kill, scenario.Provider)
		c.awaitComponent(t, c.two.AdminSocket.String(), "gateway", "start the gateway")
		awaitStatus(t, patience, c.two, "/healthz", 503)
		awaitStatus(t, patience, c.one, "/function/there", 404)
		awaitServed(t, c.two, "/function/here", c.one)
		act(t, c.two, scenario.Restart, scenario.Provider)
		awaitServed(t, c.one, "/function/there", c.two)
	})
	// What nobody knows, and what is only restarting, is not "not found".
	t.Run("NoSPOA", func(t *testing.T) {
		act(t, c.one, scenario.Kill, scenario.SPOA)
		for range 100 {
			if err := refused(callOnce(t, c.one, request{path: "/function/there"}), 503, c.one); err != nil {
				t.Error(err)
			}
			if err := served(get(t, c.one, "/function/here"), c.one); err != nil {
				t.Error(err)
			}
		}
		act(t, c.one, scenario.Restart, scenario.SPOA)
		awaitServed(t, c.one, "/function/there", c.two)
	})
	t.Run("ControllerRestarts", func(t *testing.T) {
		const longEnough = 4 * time.Second // for it to leave, and to be back
		act(t, c.two, scenario.Restart, scenario.Controller)
		for end := time.Now().Add(longEnough); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if r := callOnce(t, c.one, request{path: "/function/there"}); r.status != 200 && r.status != 503 {
				t.Fatalf("answered %v", r)
			}
		}
		awaitServed(t, c.one, "/function/there", c.two)
	})
	t.Run("NoPermission", c.noPermission)
}

// awaitComponent waits until a controller reports a part as failing, with a text
// that helps.
func (c *cluster) awaitComponent(t *testing.T, adminSocket, name, text string) {
	t.Helper()
	eventually(t, patience, fmt.Sprintf("%s fails and its error has %q", name, text), func() error {
		status, err := api.NewClient(testvalue.Path(adminSocket)).Status(t.Context())
		for _, part := range status.Components {
			if part.Name == name && !part.OK && strings.Contains(part.Error, text) {
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("components %+v", status.Components))
	})
}

// noPermission runs one more controller beside node-1's, as a user who may use
// neither HAProxy's socket nor the SPOA's.
func (c *cluster) noPermission(t *testing.T) {
	const nobody = 65534
	if os.Getuid() != 0 {
		for _, socket := range []string{c.one.HAProxySocket.String(), c.one.ControlSocket.String()} {
			if err := os.Chmod(socket, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir := shortDir(t)
	conf := standalone(dir)
	conf.OpenFederation = true
	conf.HAProxySocket, conf.SPOASocket = c.one.HAProxySocket.String(), c.one.ControlSocket.String()
	text, err := yaml.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "controller.yaml")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := command("dfaas-controller", "--config", file)
	if os.Getuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		// Whom the federation belongs to must let others through to its sockets, and
		// may have the programs where others may not go.
		if err := os.Chmod(c.Dir(), 0o755); err != nil {
			t.Fatal(err)
		}
		cmd.Path = filepath.Join(dir, "dfaas-controller")
		if err := copyProgram(program("dfaas-controller"), cmd.Path); err != nil {
			t.Fatal(err)
		}
	}
	runUntilEnd(t, cmd)
	c.awaitComponent(t, conf.AdminSocket, "haproxy", "permission")
	c.awaitComponent(t, conf.AdminSocket, "spoa", "permission")
	if os.Getuid() == 0 { // otherwise node-1's own controller is shut out as well
		c.decides(t)
	}
}
