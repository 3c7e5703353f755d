package federation

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/dfaas/dfaas/internal/testvalue"
)

const showProc = `#<PID>          <type>          <reloads>       <uptime>        <version>
29074           master          3 [failed: 1]   0d00h00m02s     2.6.12-1+deb12u4
# workers
29123           worker          0               0d00h00m01s     2.6.12-1+deb12u4
# old workers
29099           worker          1               0d00h00m02s     2.6.12-1+deb12u4
# programs

`

func TestParseReloads(t *testing.T) {
	for _, test := range []struct {
		answer string
		want   int
		ok     bool
	}{
		{showProc, 3, true},
		{"1 master 0 x\n", 0, true},
		{"1 worker 5 x\n", 0, false},
		{"1 master many x\n", 0, false},
		{"1 master -1 x\n", 0, false},
		{"1 master\n", 0, false},
		{"", 0, false},
	} {
		got, err := parseReloads(test.answer)
		if got != test.want || (err == nil) != test.ok {
			t.Errorf("parseReloads(%q) = %d, %v", test.answer, got, err)
		}
	}
}

func FuzzParseReloads(f *testing.F) {
	f.Add(showProc)
	f.Add("1 master 99999999999999999999 x\n")
	f.Fuzz(func(t *testing.T, answer string) {
		if n, err := parseReloads(answer); n < 0 || (err != nil && n != 0) {
			t.Errorf("%d, %v", n, err)
		}
	})
}

func TestUnwantedReloads(t *testing.T) {
	for _, test := range []struct {
		reloads reloads
		present int
		want    int
	}{
		{reloads{}, 0, 0},
		{reloads{}, 2, 2},
		{reloads{asked: 1}, 1, 0},
		{reloads{asked: 1, seen: 1}, 0, 0}, // reloaded, then killed
		{reloads{asked: 1, seen: 2}, 1, 2},
		{reloads{asked: 1}, 0, 0}, // asked of a master that died before anybody read its count
	} {
		if got := test.reloads.unwanted(test.present); got != test.want {
			t.Errorf("%+v with %d now: %d, want %d", test.reloads, test.present, got, test.want)
		}
	}
}

// TestMasterThatIsNotThereYet: the socket's file is there before anybody listens.
func TestMasterThatIsNotThereYet(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "m.sock")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	if _, err := new(net.Dialer).DialContext(t.Context(), "unix", socket); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("the file that was left gives %v: this tests nothing", err)
	}
	listening := make(chan net.Listener, 1)
	time.AfterFunc(5*masterRetry, func() {
		l, err := net.Listen("unix", socket+"2")
		if err != nil || os.Rename(socket+"2", socket) != nil {
			t.Errorf("cannot listen: %v", err)
		}
		listening <- l
	})
	conn, err := dialMaster(t.Context(), testvalue.Path(socket))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	(<-listening).Close()
}
