// Package notifytest plays systemd's part for programs under test.
package notifytest

import (
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Systemd returns the variables that systemd would set for a service with that
// WatchdogSec, 0 for none, and delivers what the service says.
func Systemd(t testing.TB, watchdog time.Duration) (environ []string, said <-chan string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan string, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for buf := make([]byte, 256); ; {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			heard <- string(buf[:n])
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	environ = []string{"NOTIFY_SOCKET=" + path}
	if watchdog > 0 {
		environ = append(environ, "WATCHDOG_USEC="+strconv.FormatInt(watchdog.Microseconds(), 10))
	}
	return environ, heard
}

// Want waits until the service says so, whatever else it says before.
func Want(t testing.TB, said <-chan string, want string) {
	t.Helper()
	for timeout := time.After(15 * time.Second); ; {
		select {
		case got := <-said:
			if got == want {
				return
			}
		case <-timeout:
			t.Fatalf("systemd did not hear %q", want)
		}
	}
}

// Silent waits and fails if the service says anything meanwhile.
func Silent(t testing.TB, said <-chan string, d time.Duration) {
	t.Helper()
	select {
	case got := <-said:
		t.Errorf("systemd heard %q, want nothing", got)
	case <-time.After(d):
	}
}

// Drain forgets what the service has said so far: all that comes before a word of its own.
func Drain(t testing.TB, environ []string, said <-chan string) {
	t.Helper()
	const own = "what was said so far"
	path, _ := strings.CutPrefix(environ[0], "NOTIFY_SOCKET=")
	conn, err := net.Dial("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(own)); err != nil {
		t.Fatal(err)
	}
	Want(t, said, own)
}
