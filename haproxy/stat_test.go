package haproxy

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dfaas/dfaas/internal/testvalue"
)

const statHead = "# pxname,svname,scur,stot,econ,eresp,status,weight,check_status,check_duration,addr,\n"

func TestParseServers(t *testing.T) {
	t.Parallel()
	got, err := parseServers(statHead +
		"be_dfaas_peers,local,1,20,3,4,no check,1,,,,\n" +
		"be_dfaas_peers,A,0,0,0,0,MAINT,0,,,127.0.0.1:9,\n" +
		"be_dfaas_peers,B,2,5,0,0,UP 1/2,0,* L7OK,3,[::1]:9,\n" +
		"be_dfaas_peers,C,0,0,,,DOWN,0,\"a \"\"check\"\", broken\noff\",0,10.0.0.1:80,")
	if err != nil {
		t.Fatal(err)
	}
	want := []Server{
		{Name: "local", State: Up, Weight: 1, Sessions: 1, Total: 20, Errors: 7, Lost: 4},
		{Name: "A", Address: netip.MustParseAddrPort("127.0.0.1:9"), State: Maint},
		{Name: "B", Address: netip.MustParseAddrPort("[::1]:9"), State: Up, Checked: true, Check: "L7OK in 3ms", Sessions: 2, Total: 5},
		{Name: "C", Address: netip.MustParseAddrPort("10.0.0.1:80"), State: Down, Checked: true, Check: "a \"check\", broken\noff in 0ms"},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("servers (-want +got):\n%s", diff)
	}
}

func TestParseGoodAndLost(t *testing.T) {
	t.Parallel()
	got, err := parseServers("# svname,status,weight,addr,econ,eresp,wredis,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,\n" +
		"A,UP,0,127.0.0.1:9,1,2,4,1000,2000,4000,8,16,32,\n")
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Good != 7000 || got[0].Lost != 62 {
		t.Errorf("%d good, %d lost, want 7000 and 62", got[0].Good, got[0].Lost)
	}
}

func TestParseServersRefuses(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"nothing":        "",
		"another answer": "Name: HAProxy",
		"no columns":     "# \n",
		"missing column": "# svname,status,weight\nA,UP,0\n",
		"too short":      statHead + "be_dfaas_peers,A,0,0,0,0,UP,0,,,\n",
		"open quote":     statHead + "be_dfaas_peers,\"A,0,0,0,0,UP,0,,,,\n",
		"half a quote":   statHead + "be_dfaas_peers,\"A\"B,0,0,0,0,UP,0,,,,\n",
		"broken off":     statHead + "be_dfaas_peers,A,0,0",
		"no name":        statHead + "be_dfaas_peers,,0,0,0,0,UP,0,,,,\n",
		"not a number":   statHead + "be_dfaas_peers,A,many,0,0,0,UP,0,,,,\n",
		"too many":       statHead + strings.Repeat("be_dfaas_peers,A,0,0,0,0,UP,0,,,,\n", maxServers+1),
	} {
		if servers, err := parseServers(answer); err == nil {
			t.Errorf("%s: accepted: %+v", name, servers)
		}
	}
}

func FuzzParseServers(f *testing.F) {
	f.Add(statHead + "be_dfaas_peers,local,1,20,3,4,no check,1,,,,\n")
	f.Add(statHead + "be_dfaas_peers,B,2,5,0,0,UP 1/2,0,\"* L7OK\",3,[::1]:9,")
	f.Add("# svname,status,weight,addr\n\"\n\",,-9223372036854775808,\n")
	f.Fuzz(func(t *testing.T, answer string) {
		servers, err := parseServers(answer)
		if err != nil && servers != nil {
			t.Error("servers and an error")
		}
		for _, s := range servers {
			if s.Name == "" {
				t.Error("a server without a name")
			}
		}
		for _, step := range Reconcile(servers, nil) {
			if !ValidPeerID(step.Peer.ID) {
				t.Errorf("touches %q", step.Peer.ID)
			}
		}
	})
}

func TestParseInfo(t *testing.T) {
	t.Parallel()
	got, err := parseInfo("Name: HAProxy\nVersion: 2.6.12-1+deb12u4\nPid: 42\nUptime: 0d 0h01m05s\nUptime_sec: 65\nMaxconn: 10\n")
	if want := (Info{Version: "2.6.12-1+deb12u4", PID: 42, Uptime: 65 * time.Second, MaxConn: 10}); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, answer := range []string{"", "Version: 2.6", "Version: 2.6\nPid: 0\nUptime_sec: 1", "Version: 2.6\nPid: 1\nUptime_sec: -1\nMaxconn: 10",
		"Version: 2.6\nPid: 1\nUptime_sec: 1", "Version: 2.6\nPid: 1\nUptime_sec: 1\nMaxconn: 0"} {
		if got, err := parseInfo(answer); err == nil {
			t.Errorf("%q: accepted: %+v", answer, got)
		}
	}
}

func TestAtLeast(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"3.3.0": true, "3.3-dev4": true, "3.10.1": true, "4.0.0": true, "3.2.26-1": false, "2.6.12-1+deb12u4": false, "2.9": false, "": false, "x.y": false,
	} {
		if got := (Info{Version: version}).atLeast(3, 3); got != want {
			t.Errorf("%q is at least 3.3: %v, want %v", version, got, want)
		}
	}
}

func FuzzParseInfo(f *testing.F) {
	f.Add("Version: 2.6.12\nPid: 42\nUptime_sec: 65\nMaxconn: 10\n")
	f.Add("Pid: 42: 43\r\n: \n")
	f.Fuzz(func(t *testing.T, answer string) {
		if info, err := parseInfo(answer); err == nil && (info.PID <= 0 || info.Uptime < 0 || info.Version == "") {
			t.Errorf("accepted %+v", info)
		}
	})
}

// TestExplain covers what cannot be brought about for every user: root may open
// any socket.
func TestExplain(t *testing.T) {
	t.Parallel()
	c := New(testvalue.Path("/run/haproxy/admin.sock"))
	for cause, want := range map[error]error{
		fmt.Errorf("dial: %w", syscall.EACCES): ErrPermission,
		fmt.Errorf("dial: %w", fs.ErrNotExist): ErrNoSocket,
	} {
		if got := c.explain(cause); !errors.Is(got, want) || !strings.Contains(got.Error(), "/run/haproxy/admin.sock") {
			t.Errorf("%v became %v", cause, got)
		}
	}
	if err := c.check(strings.Repeat("x", maxAnswer+1)); err == nil {
		t.Error("an answer without end is accepted")
	}
}
