package haproxy_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
	"github.com/dfaas/dfaas/internal/testprogram"
)

// TestLeavingEndsTheProcess: with dfaas-provider as the gateway, the process of a
// call ends when its caller goes away, here and at a peer, and whatever the
// function's time limit.
func TestLeavingEndsTheProcess(t *testing.T) {
	t.Parallel()
	program := filepath.Join(testprogram.Dir(t), "dfaas-provider")
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		gateway := startProvider(t, program)
		dir := t.TempDir()
		pids, script := filepath.Join(dir, "pids"), filepath.Join(dir, "slow")
		if err := os.WriteFile(script, []byte("#!/bin/sh\necho $$ >> "+pids+"\nexec sleep 300\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		spec := `{"service":"slow","image":"mine","envProcess":"` + script + `","labels":{"dfaas.timeout_ms":"300000"}}`
		if got := call(t, "POST", "http://"+gateway+"/system/functions", strings.NewReader(spec)); got.status != 202 {
			t.Fatalf("deploying: %d %s", got.status, got.body)
		}
		a := startNode(t, binary, idA)
		b := haproxytest.Start(t, haproxytest.Options{Binary: binary, NodeID: idB, Gateway: gateway})
		a.addPeers(t, peerAt(t, idB, b.Addr))
		a.waitState(t, idB, haproxy.Up)
		for i, test := range []struct{ addr, headers string }{
			{b.Addr, ""},
			{a.decided, "Test-Action: peer\r\nTest-Target: " + idB + "\r\nTest-Token: " + tokenOf(idA) + "\r\nTest-Timeout: 300000\r\n"},
		} {
			conn := sent(t, test.addr, "POST /function/slow HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n"+test.headers+"\r\nx")
			pid := 0
			eventually(t, "its process runs", func() bool {
				text, _ := os.ReadFile(pids)
				lines := strings.Fields(string(text))
				if len(lines) != i+1 {
					return false
				}
				pid, _ = strconv.Atoi(lines[i])
				return syscall.Kill(pid, 0) == nil
			})
			conn.Close()
			left := time.Now()
			eventually(t, "its process has ended", func() bool { return syscall.Kill(pid, 0) != nil })
			if took := time.Since(left); took > 10*time.Second {
				t.Errorf("call %d: its process ran on for %v", i, took)
			}
		}
	})
}

// startProvider runs a gateway whose functions may be any command. It is a process
// of its own: within this one it would end threads, and with them the HAProxies
// of other tests that these have started.
func startProvider(t *testing.T, program string) (addr string) {
	t.Helper()
	addr = haproxytest.FreeAddr(t)
	cmd := exec.Command(program, "--listen", addr, "--state-dir", t.TempDir(), "--allow-processes")
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // how it ended shows in its log
		if t.Failed() {
			t.Logf("the provider's log:\n%s", log.String())
		}
	})
	eventually(t, "the provider listens", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return addr
}
