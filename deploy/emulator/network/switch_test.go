package network

import (
	"errors"
	"strings"
	"testing"
)

// A switch goes with the last host at it, or a long series of partitions would
// leave thousands.
func TestSwitchesAreRemoved(t *testing.T) {
	n, err := New()
	if errors.Is(err, ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	for _, name := range []string{"a", "b"} {
		if _, err := n.Add(name); err != nil {
			t.Fatal(err)
		}
	}
	count := func() (switches int) {
		t.Helper()
		links, err := n.ctl.LinkList()
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range links {
			if strings.HasPrefix(link.Attrs().Name, "side") {
				switches++
			}
		}
		return switches
	}
	for range 3 {
		for _, act := range []func() error{
			func() error { return n.Partition("a", "b") }, func() error { return n.Partition("a") }, func() error { return n.Heal("a") },
		} {
			if err := act(); err != nil {
				t.Fatal(err)
			}
			if got := count(); got < 2 || got > 3 {
				t.Errorf("%d switches", got)
			}
		}
		if err := n.Heal(); err != nil {
			t.Fatal(err)
		}
		if got := count(); got != 1 {
			t.Errorf("%d switches, and nobody is parted", got)
		}
	}
}
