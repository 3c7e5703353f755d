package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/spoa/control"
	"github.com/dfaas/dfaas/spoa/table"
)

// oldPrograms says where programs of an earlier release are. Without it, the test
// upgrades from programs of today that speak one version less.
const oldPrograms = "DFAAS_OLD_BIN"

// programs are the paths of the parts that an upgrade replaces.
type programs map[scenario.Part]string

// previous returns the programs of the release before.
func previous(t *testing.T) programs {
	dir := os.Getenv(oldPrograms)
	if dir == "" {
		dir = t.TempDir()
		build := exec.Command("go", "build", "-C", "..", "-trimpath", "-tags", "dfaas_previous", "-o", dir+"/",
			"./spoa/cmd/dfaas-spoa", "./controller/cmd/dfaas-controller")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return programs{scenario.SPOA: filepath.Join(dir, "dfaas-spoa"), scenario.Controller: filepath.Join(dir, "dfaas-controller")}
}

// upgrade is a federation in which every node has its own links to the programs
// that it runs.
type upgrade struct {
	*cluster
	dir      string
	old, new programs
}

func (u *upgrade) link(node string, part scenario.Part) string {
	return filepath.Join(u.dir, node+"-"+string(part))
}

// install makes a node's part another program, as a package manager does.
func (u *upgrade) install(t *testing.T, node string, part scenario.Part, program string) {
	t.Helper()
	link := u.link(node, part)
	if err := os.Symlink(program, link+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
}

// change installs another program for a part of a node and starts it anew.
func (u *upgrade) change(t *testing.T, n *federation.Node, part scenario.Part, to programs) {
	t.Helper()
	u.install(t, n.Name, part, to[part])
	act(t, n, scenario.Restart, part)
	if err := u.WaitReady(t.Context()); err != nil {
		t.Fatalf("%s: %s replaced: %v", n.Name, part, err)
	}
	for _, at := range u.Nodes() {
		for _, other := range u.Nodes() {
			if at != other {
				eventually(t, patience, at.Name+" has "+other.Name+" in its table", func() error { return listed(t, at, other) })
			}
		}
	}
}

// listed reports whether a node's agent knows that the other has the function, if
// it has room or not.
func listed(t *testing.T, at, other *federation.Node) error {
	spoa := control.New(at.ControlSocket)
	defer spoa.Close()
	current, err := spoa.Table(t.Context())
	if err != nil || current == nil {
		return fmt.Errorf("no table: %w", err)
	}
	for _, row := range current.Functions {
		if row.Name.String() == "funca" && slices.ContainsFunc(row.Forward, func(f table.Forward) bool { return f.Peer.String() == other.PeerID }) {
			return nil
		}
	}
	return fmt.Errorf("functions %+v", current.Functions)
}

// TestUpgrade replaces the programs of a federation under load, node by node and
// part by part, and puts some back: nobody is expired or refused, no user sees an
// error.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	u := &upgrade{dir: t.TempDir(), old: previous(t), new: programs{
		scenario.SPOA: built.binaries[scenario.SPOA], scenario.Controller: built.binaries[scenario.Controller],
	}}
	all := surplus()
	for i := range all {
		all[i].Functions[0].Labels = map[string]string{"dfaas.timeout_ms": "20000"}
	}
	special := make(map[string]federation.Binaries)
	for _, n := range all {
		special[n.Name] = federation.Binaries{}
		for part, program := range u.old {
			u.install(t, n.Name, part, program)
			special[n.Name][part] = u.link(n.Name, part)
		}
	}
	u.cluster = start(t, federation.Options{Nodes: all, Special: special})
	deploy(t, u.three, echoFunction("My_Func", maxrate("20"))) // a name that the old release does not know
	if r := get(t, u.one, "/function/My_Func"); r.status != http.StatusNotFound {
		t.Errorf("My_Func is answered %v by the old release", r)
	}
	watch := u.watch(t)
	s := u.stream(t, u.one, "funca", surplusLoad)
	u.awaitForwarding(t, u.two, u.three)
	for _, step := range []struct {
		node  *federation.Node
		first scenario.Part
		then  scenario.Part
		to    programs
	}{
		{u.one, scenario.SPOA, scenario.Controller, u.new},
		{u.two, scenario.Controller, scenario.SPOA, u.new},
		{u.three, scenario.SPOA, scenario.Controller, u.new},
	} {
		u.change(t, step.node, step.first, step.to)
		s.progress(t, surplusLoad/2)
		u.change(t, step.node, step.then, step.to)
		s.progress(t, surplusLoad/2)
	}
	awaitServed(t, u.one, "/function/My_Func", u.three)
	u.change(t, u.two, scenario.Controller, u.old)
	u.awaitForwarding(t, u.two, u.three)
	t.Logf("served by %v", flawless(t, s, s.stop(t)))
	if seen := watch(); seen != "" {
		t.Error(seen)
	}
	u.quiet(t)
}

// watch looks at what all nodes say of each other until the function that it
// returns is called, which returns who was expired or refused, and gossip that was.
func (u *upgrade) watch(t *testing.T) (end func() string) {
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan string, 1)
	go func() {
		poll := time.NewTicker(100 * time.Millisecond)
		defer poll.Stop()
		var found error
		for ctx.Err() == nil {
			for _, n := range u.Nodes() {
				found = errors.Join(found, u.complaint(ctx, n))
			}
			select {
			case <-ctx.Done():
			case <-poll.C:
			}
			if found != nil {
				break
			}
		}
		<-ctx.Done()
		if found == nil {
			seen <- ""
			return
		}
		seen <- found.Error()
	}()
	return func() string {
		cancel()
		return <-seen
	}
}

// complaint is what a node has against another. A controller that is being
// replaced has none.
func (u *upgrade) complaint(ctx context.Context, n *federation.Node) error {
	peers, err := n.Admin().Peers(ctx)
	if err != nil {
		return nil // it is down for the moment, or the test is over
	}
	for _, p := range peers {
		// Others were quicker to tell of a controller that has just been started, or it
		// was dialled when the one before it was just ending.
		if strings.Contains(p.Reason, "without a direct connection") || strings.Contains(p.Reason, "closes the connection at once") {
			continue
		}
		if p.State == "refused" || p.State == "newer" || p.State == "expired" && p.Reason != "has left" {
			return fmt.Errorf("%s says that %s is %s: %s", n.Name, u.NameOf(p.ID), p.State, strings.TrimSpace(p.Reason))
		}
	}
	return nil
}
