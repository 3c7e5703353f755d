// Package haproxytest runs the real HAProxy with the DFaaS drop-in, for tests.
package haproxytest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/port"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// startTimeout is for HAProxy to start, reload or stop, on a busy machine.
const startTimeout = 20 * time.Second

// Options of an HAProxy. The zero value runs the drop-in with free ports on
// 127.0.0.1, no gateway and no SPOA.
type Options struct {
	// Binary to run; the zero value is the installed haproxy.
	Binary Binary
	// Bind and Stats are the addresses of fe_dfaas and of the statistics page;
	// empty: 127.0.0.1 and a free port.
	Bind, Stats string
	// Gateway is HOST:PORT of the node's gateway; empty: nobody listens there.
	Gateway string
	// SPOA is the path of dfaas-spoa's socket; empty: spoa.sock in Dir.
	SPOA string
	// NodeID is the peer id for DFaaS-Node-ID.
	NodeID string
	// TLSDir is a directory with haproxy.CertificateFile and
	// haproxy.AnchorsFile; empty: no TLS port.
	TLSDir string
	// Proxies are the addresses whose X-Forwarded-Proto is believed; empty: none.
	Proxies string
	// Settings are further ones of the drop-in, by the name of their variable.
	Settings map[string]string
	// Before is the operator's configuration, loaded before the drop-in.
	Before string
	// Config is further configuration, loaded after the drop-in.
	Config string
	// Dir is an existing directory for sockets, configuration and log; its path
	// must be short. Empty: a new one, removed when the test ends.
	Dir string
	// Patient has HAProxy wait for dfaas-spoa for ten seconds, so that all calls are decided
	// on a busy machine, too, where it may be late for the 20 ms that it has.
	Patient bool
	// Quiet leaves requests out of the log, for measurements.
	Quiet bool
}

// HAProxy is a running HAProxy: a master and its worker.
type HAProxy struct {
	Addr      string // fe_dfaas, HOST:PORT
	TLSAddr   string // fe_dfaas, for peers with TLS; "" without
	StatsAddr string // statistics page and /metrics
	Socket    string // runtime socket, level admin
	SPOA      string // where it expects dfaas-spoa's socket
	Dir       string
	Client    *haproxy.Client

	tb   testing.TB
	cmd  *exec.Cmd
	done chan struct{} // closed when the master has ended
	stop sync.Once
}

// Start runs HAProxy until the test ends, and returns when it serves. If the
// test fails, HAProxy's log is part of its output.
func Start(tb testing.TB, opts Options) *HAProxy {
	tb.Helper()
	if opts.Dir == "" {
		opts.Dir = tempDir(tb)
	}
	if opts.SPOA == "" {
		opts.SPOA = filepath.Join(opts.Dir, "spoa.sock")
	}
	// A port that was free may be taken before HAProxy binds it.
	var err error
	for range 5 {
		var h *HAProxy
		if h, err = start(tb, opts); err == nil {
			return h
		}
		if !strings.Contains(err.Error(), "cannot bind") {
			break
		}
	}
	tb.Fatalf("starting HAProxy: %v", err)
	return nil
}

func start(tb testing.TB, opts Options) (*HAProxy, error) {
	h := &HAProxy{
		Addr:      orFree(tb, opts.Bind),
		StatsAddr: orFree(tb, opts.Stats),
		Socket:    filepath.Join(opts.Dir, "admin.sock"),
		SPOA:      opts.SPOA,
		Dir:       opts.Dir,
		tb:        tb,
		done:      make(chan struct{}),
	}
	h.Client = haproxy.New(testvalue.Path(h.Socket))
	if opts.TLSDir != "" {
		h.TLSAddr = FreeAddr(tb)
		var err error
		if h.Client, err = haproxy.NewTLS(testvalue.Path(h.Socket), opts.TLSDir); err != nil {
			return nil, err
		}
	}
	files, err := writeConfig(opts, h.Socket)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(h.logPath())
	if err != nil {
		return nil, err
	}
	defer log.Close()

	args := []string{"-db"}
	if opts.Binary.canReload() {
		args = append(args, "-W", "-S", h.masterSocket())
	}
	for _, file := range files {
		args = append(args, "-f", file)
	}
	h.cmd = opts.Binary.command(args...)
	h.cmd.Stdout, h.cmd.Stderr = log, log
	settings := map[string]string{
		haproxy.EnvBind:     h.Addr,
		haproxy.EnvStats:    h.StatsAddr,
		haproxy.EnvGateway:  orFree(tb, opts.Gateway),
		haproxy.EnvSPOA:     "unix@" + opts.SPOA,
		haproxy.EnvSPOEConf: filepath.Join(opts.Dir, "dfaas-spoe.conf"),
		haproxy.EnvInstance: fmt.Sprintf("%d-%s", os.Getpid(), filepath.Base(opts.Dir)),
		haproxy.EnvNodeID:   opts.NodeID,
		haproxy.EnvProxies:  opts.Proxies,
		haproxy.EnvTLSBind:  h.TLSAddr,
		haproxy.EnvTLSDir:   opts.TLSDir,
	}
	maps.Copy(settings, opts.Settings)
	h.cmd.Env = Environ(settings)
	// A group of its own, so that Stop reaches the worker of a killed master;
	// and none of it survives the test process.
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		// How it ended shows in the log.
		_ = h.cmd.Wait()
		close(h.done)
	}()
	err = h.waitReady(0)
	if err == nil && opts.Binary.canReload() {
		err = h.waitMaster()
	}
	if err != nil {
		h.Stop()
		return nil, err
	}
	tb.Cleanup(func() {
		h.Stop()
		if tb.Failed() {
			tb.Logf("HAProxy's log:\n%s", h.Log())
		}
	})
	return h, nil
}

// writeConfig writes the configuration files and returns those to load.
func writeConfig(opts Options, socket string) ([]string, error) {
	logLine := "log stderr format raw local0\n"
	if opts.Quiet {
		logLine = "log stderr format raw local0 notice\n"
	}
	questions := haproxy.SPOEConfig()
	if opts.Patient {
		questions = strings.Replace(questions, "timeout processing 20ms", "timeout processing 10s", 1)
	}
	contents := []struct{ name, text string }{
		{"dfaas-spoe.conf", questions},
		{"haproxy.cfg", "global\n\t" + logLine + "\tstats socket " + socket + " mode 600 level admin\n" + opts.Before},
		{"dfaas.cfg", haproxy.Config()},
		{"extra.cfg", opts.Config + "\n"},
	}
	var files []string
	for _, c := range contents {
		path := filepath.Join(opts.Dir, c.name)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			return nil, err
		}
		if filepath.Ext(path) == ".cfg" {
			files = append(files, path)
		}
	}
	return files, nil
}

// waitReady waits until a worker other than the process old serves.
func (h *HAProxy) waitReady(old int) error {
	return h.wait(func(ctx context.Context) error {
		info, err := h.Client.Info(ctx)
		if err == nil && info.PID == old {
			return fmt.Errorf("process %d still serves", old)
		}
		return err
	})
}

// waitMaster waits until the master listens to signals, which it does a little
// later than its worker serves; a reload asked for before that is lost.
func (h *HAProxy) waitMaster() error {
	return h.wait(func(ctx context.Context) error {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", h.masterSocket())
		if err != nil {
			return err
		}
		defer conn.Close()
		if deadline, ok := ctx.Deadline(); ok {
			conn.SetDeadline(deadline)
		}
		if _, err := conn.Write([]byte("show proc\n")); err != nil {
			return err
		}
		_, err = conn.Read(make([]byte, 1))
		return err
	})
}

func (h *HAProxy) wait(ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-h.done:
			return errors.New("it ended:\n" + h.Log())
		case <-ctx.Done():
			return fmt.Errorf("not ready in %s (%w):\n%s", startTimeout, err, h.Log())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// WorkerPID returns the id of the process that serves.
func (h *HAProxy) WorkerPID() int {
	h.tb.Helper()
	info, err := h.Client.Info(context.Background())
	if err != nil {
		h.tb.Fatal(err)
	}
	return info.PID
}

// Reload reloads HAProxy as systemd does and returns when the new worker serves.
func (h *HAProxy) Reload() {
	h.tb.Helper()
	old := h.WorkerPID()
	if err := h.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		h.tb.Fatalf("reloading HAProxy: %v", err)
	}
	err := h.waitReady(old)
	if err == nil {
		err = h.waitMaster()
	}
	if err != nil {
		h.tb.Fatalf("reloading HAProxy: %v", err)
	}
}

// Stop ends HAProxy, master and workers, at once. It may be called twice.
func (h *HAProxy) Stop() {
	h.stop.Do(func() {
		_ = h.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-h.done:
		case <-time.After(2 * time.Second):
		}
		// A stopped (SIGSTOP) or orphaned worker.
		_ = syscall.Kill(-h.cmd.Process.Pid, syscall.SIGKILL)
		<-h.done
	})
}

// Log returns what HAProxy has logged so far.
func (h *HAProxy) Log() string {
	text, err := os.ReadFile(h.logPath())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (h *HAProxy) masterSocket() string { return filepath.Join(h.Dir, "master.sock") }

func (h *HAProxy) logPath() string { return filepath.Join(h.Dir, "haproxy.log") }

// Environ returns this process's environment with the drop-in's settings
// replaced by the given ones; empty ones are left to the drop-in's defaults.
func Environ(settings map[string]string) []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "DFAAS_") {
			env = append(env, entry)
		}
	}
	for name, value := range settings {
		if value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// Free ports are looked for below the range from which the kernel takes the ports of
// outgoing connections, and where package federation does not look.
const lowestPort, ports = 10_000, 10_000

// FreeAddr returns an address on 127.0.0.1 with a port at which nobody listens and that
// no other test gets until this one ends: two HAProxies with the same port would not
// complain, each would get a part of the connections.
func FreeAddr(tb testing.TB) string {
	tb.Helper()
	for range 1000 {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(lowestPort+rand.IntN(ports)))
		if release, err := port.Keep(at); err == nil {
			tb.Cleanup(release)
			return at.String()
		}
	}
	tb.Fatal("no free port found")
	return ""
}

func orFree(tb testing.TB, addr string) string {
	tb.Helper()
	if addr != "" {
		return addr
	}
	return FreeAddr(tb)
}

// tempDir makes a directory whose path leaves room for the names of sockets
// (107 bytes in all), which testing.TB.TempDir does not.
func tempDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "dfaas")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
