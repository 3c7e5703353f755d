package overlay

import (
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"unsafe"
)

// TestMDNS runs in a network namespace of its own, whose loopback interface is
// made to carry multicast: nothing leaves the machine, and nothing on the
// machine's network can disturb it.
func TestMDNS(t *testing.T) {
	const inside = "DFAAS_TEST_IN_NAMESPACE"
	if os.Getenv(inside) == "" {
		child := exec.Command(os.Args[0], "-test.run=^TestMDNS$", "-test.count=1", "-test.v")
		child.Env = append(os.Environ(), inside+"=1")
		child.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
			Pdeathsig:   syscall.SIGKILL,
		}
		if out, err := child.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	loopbackWithMulticast(t)
	before := len(stacks())
	nodes := runEach(t, 3, func(i int, c *Config) {
		c.MDNS = true
		c.Federation = []string{"one", "one", "two"}[i]
	})
	waitMesh(t, nodes[:2]...)
	if peers := nodes[2].Peers(); len(peers) != 0 {
		t.Errorf("another federation found %v", peers)
	}
	nodes[0] = nodes[0].restart()
	waitMesh(t, nodes[:2]...)
	for _, n := range nodes {
		n.Close()
	}
	waitFor(t, "goroutines end", func() bool { return len(stacks()) <= before })
}

// loopbackWithMulticast brings the loopback interface up, able to multicast.
func loopbackWithMulticast(t *testing.T) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	request := struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}{flags: syscall.IFF_UP | syscall.IFF_RUNNING | syscall.IFF_MULTICAST | syscall.IFF_LOOPBACK}
	copy(request.name[:], "lo")
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request))); errno != 0 {
		t.Fatal(errno)
	}
	if lo, err := net.InterfaceByName("lo"); err != nil || lo.Flags&(net.FlagUp|net.FlagMulticast) != net.FlagUp|net.FlagMulticast {
		t.Fatalf("loopback: %+v, %v", lo, err)
	}
}
