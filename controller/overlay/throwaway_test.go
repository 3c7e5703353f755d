package overlay

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/prometheus/procfs"
)

// TestThrowAwayIdentities: hundreds of identities join for a moment, each with an
// address of its own at which nobody is. Once they are gone, they cost the node, which
// has another member, next to nothing.
func TestThrowAwayIdentities(t *testing.T) {
	t.Parallel() // it mostly waits
	const inside = "DFAAS_TEST_NODE"
	if os.Getenv(inside) != "" {
		n := runEach(t, 1, func(_ int, c *Config) { c.DHT = true })[0]
		fmt.Println("at", n.addr)
		bufio.NewReader(os.Stdin).ReadString('\n')
		return
	}
	const many, over = 200, 4 * time.Second
	child := exec.Command(os.Args[0], "-test.run=^TestThrowAwayIdentities$", "-test.count=1", "-test.v")
	child.Env = append(os.Environ(), inside+"=1")
	in, _ := child.StdinPipe()
	out, _ := child.StdoutPipe()
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer in.Close()
	var addr string
	for s := bufio.NewScanner(out); addr == "" && s.Scan(); {
		addr, _ = strings.CutPrefix(s.Text(), "at ")
		if addr == s.Text() {
			addr = ""
		}
	}
	proc, err := procfs.NewProc(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	cpu := func() float64 {
		stat, err := proc.Stat()
		if err != nil {
			t.Fatal(err)
		}
		return stat.CPUTime()
	}
	other := runEach(t, 1, func(_ int, c *Config) { c.DHT = true })[0]
	if _, err := other.Join(t.Context(), addr); err != nil {
		t.Fatal(err)
	}
	target, _ := peer.AddrInfoFromString(addr)
	began, before := time.Now(), cpu()
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			h := hostile(t, addrOf(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", 20000+i)))
			if err := h.Connect(t.Context(), *target); err == nil {
				<-time.After(300 * time.Millisecond)
			}
			h.Close()
		})
		<-time.After(time.Until(began.Add(over / many * time.Duration(i+1))))
	}
	wg.Wait()
	t.Logf("while %d identities came: %.1f %% of a core", many, 100*(cpu()-before)/time.Since(began).Seconds())
	<-time.After(2 * time.Second) // what is under way ends
	began, before = time.Now(), cpu()
	<-time.After(5 * time.Second)
	if share := 100 * (cpu() - before) / time.Since(began).Seconds(); share > 4 {
		t.Errorf("afterwards: %.1f %% of a core", share)
	} else {
		t.Logf("afterwards: %.1f %% of a core", share)
	}
}
