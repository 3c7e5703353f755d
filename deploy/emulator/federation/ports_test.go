package federation

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

func TestPortsAreFreeAndDifferent(t *testing.T) {
	taken := make(allocator)
	defer taken.close()
	seen := make(map[int]bool)
	for range 50 {
		ports, err := taken.node(Ports{}, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, port := range []int{ports.HTTP, ports.Stats, ports.Gateway, ports.Overlay} {
			if seen[port] || port < lowestPort || port > highestPort {
				t.Fatalf("port %d", port)
			}
			seen[port] = true
		}
	}
}

// A port that one federation was given is not given to another before its program
// listens there, and its program can.
func TestPortsAreKept(t *testing.T) {
	one := make(allocator)
	defer one.close()
	ports, err := one.node(Ports{}, false)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // it may be started anew
		if _, err := keep(ports.HTTP); err == nil {
			t.Errorf("port %d is kept twice", ports.HTTP)
		}
		listener, err := net.Listen("tcp", address(host, ports.HTTP))
		if err != nil {
			t.Fatal(err)
		}
		listener.Close()
	}
	one.close()
	clear(one)
	release, err := keep(ports.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	one[ports.HTTP] = release
}

func TestPortsInUseAreRefused(t *testing.T) {
	listener, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	busy := listener.Addr().(*net.TCPAddr).Port
	_, err = make(allocator).node(Ports{HTTP: busy}, false)
	if err == nil || !strings.Contains(err.Error(), "port "+strconv.Itoa(busy)+" of 127.0.0.1 is in use") {
		t.Errorf("got %v", err)
	}
	taken := make(allocator)
	defer taken.close()
	ports, err := taken.node(Ports{}, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := taken.node(ports, false); err == nil {
		t.Error("the same ports for two nodes")
	}
}

func TestFindBinaries(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", t.TempDir())
	if err := os.WriteFile(filepath.Join(dir, "dfaas-spoa"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "dfaas-controller"), nil, 0o644); err != nil { // not executable
		t.Fatal(err)
	}
	found, err := FindBinaries(dir)
	if found[scenario.SPOA] != filepath.Join(dir, "dfaas-spoa") {
		t.Errorf("found %v", found)
	}
	for _, want := range []string{"dfaas-provider is neither in " + dir + " nor in PATH: run `make build`", "dfaas-controller is neither"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
