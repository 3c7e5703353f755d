package e2e

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dfaas/dfaas/controller/api"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/deploy/emulator/link"
	"github.com/dfaas/dfaas/deploy/emulator/network"
	"github.com/dfaas/dfaas/internal/experiment/summary"
	"github.com/dfaas/dfaas/internal/experiment/topology"
)

// needLinks skips the test where nodes cannot have links of their own.
func needLinks(t *testing.T) {
	t.Helper()
	pair, err := topology.Shape{Kind: topology.Line}.Topology(2)
	if err != nil {
		t.Fatal(err)
	}
	n, err := network.NewLinked(pair, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if _, err := n.Add("a"); errors.Is(err, network.ErrUnavailable) || errors.Is(err, link.ErrNoTUN) {
		t.Skip(err)
	}
}

// needNamespaces skips the test where nodes cannot have networks of their own.
func needNamespaces(t *testing.T) {
	t.Helper()
	n, err := network.New()
	if errors.Is(err, network.ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	n.Close()
}

// TestPartition cuts one node off from two others, which go on together while it
// goes on alone, and lets them find each other again.
func TestPartition(t *testing.T) {
	t.Parallel()
	needNamespaces(t)
	c := start(t, federation.Options{Nodes: surplus(), Namespaces: true})
	s := c.stream(t, c.one, "funca", surplusLoad)
	c.awaitForwarding(t, c.two, c.three)
	alone := c.stream(t, c.three, "funca", surplusLoad/2)

	if err := c.Partition(c.three.Name); err != nil {
		t.Fatal(err)
	}
	c.awaitAlive(t, c.one, c.two)
	c.awaitAlive(t, c.two, c.one)
	c.awaitAlive(t, c.three)
	known := time.Since(s.start)
	s.progress(t, 3*surplusLoad)
	parted := time.Since(s.start)
	if err := c.Heal(); err != nil {
		t.Fatal(err)
	}
	healed := time.Now()
	c.awaitAlive(t, c.one, c.two, c.three)
	c.awaitAlive(t, c.three, c.one, c.two)
	t.Logf("all see each other %v after the partition was healed", time.Since(healed))
	c.awaitForwarding(t, c.two, c.three)
	together := time.Since(s.start)
	s.progress(t, 2*surplusLoad)

	all := s.stop(t)
	by := flawless(t, s, within(all, known, parted))
	if by[c.three.Name] > 0 || by[c.two.Name] == 0 {
		t.Errorf("while node-3 was cut off, served by %v", by)
	}
	if by = flawless(t, s, within(all, together, time.Since(s.start))); by[c.three.Name] == 0 {
		t.Errorf("after the partition, served by %v", by)
	}
	if by = flawless(t, alone, alone.stop(t)); by[c.three.Name] == 0 || len(by) > 1 {
		t.Errorf("the users of node-3 were served by %v", by)
	}
	c.quiet(t)
}

// awaitAlive waits until the node sees just these peers, and can reach them.
func (c *cluster) awaitAlive(t *testing.T, n *federation.Node, peers ...*federation.Node) {
	t.Helper()
	eventually(t, patience, fmt.Sprintf("%s sees %d peers", n.Name, len(peers)), func() error {
		list, err := n.Admin().Peers(t.Context())
		if err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(p api.Peer) bool { return p.State != "alive" })
		for _, want := range peers {
			if !slices.ContainsFunc(list, func(p api.Peer) bool { return p.ID == want.PeerID && p.Server == "up" }) {
				return fmt.Errorf("%s is missing among %+v", want.Name, list)
			}
		}
		if len(list) != len(peers) {
			return fmt.Errorf("peers %+v", list)
		}
		return nil
	})
}

// within returns the samples of requests sent in that time.
func within(samples []summary.Sample, from, to time.Duration) []summary.Sample {
	return slices.DeleteFunc(slices.Clone(samples), func(s summary.Sample) bool { return s.At < from || s.At >= to })
}
