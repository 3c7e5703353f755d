package haproxy_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/faasd/provider"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
)

// TestLeavingEndsTheProcess: with dfaas-provider as the gateway, the process of a
// call ends when its caller goes away, here and at a peer, and whatever the
// function's time limit.
func TestLeavingEndsTheProcess(t *testing.T) {
	t.Parallel()
	for _, version := range versions {
		t.Run(version.name, func(t *testing.T) {
			t.Parallel()
			gateway := startProvider(t)
			dir := t.TempDir()
			pids, script := filepath.Join(dir, "pids"), filepath.Join(dir, "slow")
			if err := os.WriteFile(script, []byte("#!/bin/sh\necho $$ >> "+pids+"\nexec sleep 300\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			spec := `{"service":"slow","image":"mine","envProcess":"` + script + `","labels":{"dfaas.timeout_ms":"300000"}}`
			if got := call(t, "POST", "http://"+gateway+"/system/functions", strings.NewReader(spec)); got.status != 202 {
				t.Fatalf("deploying: %d %s", got.status, got.body)
			}
			binary := version.binary(t)
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
}

// startProvider runs a gateway whose functions may be any command.
func startProvider(t *testing.T) (addr string) {
	t.Helper()
	o := provider.DefaultOptions()
	o.Listen, o.StateDir, o.AllowProcesses, o.NoConfinement = "127.0.0.1:0", t.TempDir(), true, true
	listening := make(chan string, 1)
	o.OnListen = func(a net.Addr) { listening <- a.String() }
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- provider.Run(ctx, o, zerolog.Nop()) }()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	select {
	case addr = <-listening:
	case err := <-ended:
		ended <- err
		t.Fatal(err)
	}
	return addr
}
