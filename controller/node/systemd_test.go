package node

import (
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/internal/notify"
	"github.com/dfaas/dfaas/internal/notify/notifytest"
)

// TestSystemdIsTold: a node is ready when its SPOA has the first table, and alive as
// long as its loop turns.
func TestSystemdIsTold(t *testing.T) {
	environ, said := notifytest.Systemd(t, 3*time.Second)
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	n := startNode(t, newFakeNet(), 1, func(o *Options, n *testNode) {
		o.Systemd = notify.New(zerolog.Nop())
		n.gateway.set(nil, fn("cat", "10"))
	})
	notifytest.Want(t, said, "WATCHDOG=1")
	if n.serves("cat") {
		t.Fatal("a table before the node has settled: this tests nothing")
	}
	notifytest.Want(t, said, "READY=1")
	if !n.serves("cat") {
		t.Error("ready without a table")
	}
	notifytest.Want(t, said, "WATCHDOG=1")
}
