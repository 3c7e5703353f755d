package notify

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// systemd plays systemd's part: it delivers what the program says. A watchdog of
// 0 is none.
func systemd(t *testing.T, watchdog time.Duration) <-chan string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for buf := make([]byte, 256); ; {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			said <- string(buf[:n])
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	if watchdog > 0 {
		t.Setenv("WATCHDOG_USEC", strconv.FormatInt(watchdog.Microseconds(), 10))
	}
	return said
}

func next(t *testing.T, said <-chan string, want string) {
	t.Helper()
	select {
	case got := <-said:
		if got != want {
			t.Fatalf("systemd heard %q, want %q", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("systemd did not hear %q", want)
	}
}

func silent(t *testing.T, said <-chan string, d time.Duration) {
	t.Helper()
	select {
	case got := <-said:
		t.Fatalf("systemd heard %q, want nothing", got)
	case <-time.After(d):
	}
}

func TestReadyOnceAndStopping(t *testing.T) {
	said := systemd(t, 0)
	s := New(zerolog.Nop())
	s.Ready()
	next(t, said, "READY=1")
	s.Ready()
	s.Alive() // nobody watches
	s.Stopping()
	next(t, said, "STOPPING=1")
	silent(t, said, 50*time.Millisecond)
}

// TestAlive: a loop that turns quickly says little, and often enough.
func TestAlive(t *testing.T) {
	const watchdog = 300 * time.Millisecond
	said := systemd(t, watchdog)
	s := New(zerolog.Nop())
	if s.Every() != watchdog/share {
		t.Errorf("every %s, want %s", s.Every(), watchdog/share)
	}
	start, turns, signs := time.Now(), 0, 0
	for time.Since(start) < 2*watchdog {
		s.Alive()
		turns++
		time.Sleep(time.Millisecond)
	}
	most := 2*share*int(time.Since(start)/watchdog+1) + 1
	for {
		select {
		case <-said:
			signs++
			continue
		case <-time.After(50 * time.Millisecond):
		}
		break
	}
	if signs < 2 || signs > most {
		t.Errorf("%d signs of life in %d turns and twice the watchdog's time, want 2 to %d", signs, turns, most)
	}
}

// TestNotReady: a boot does not wait for ever.
func TestNotReady(t *testing.T) {
	said := systemd(t, 0)
	s := New(zerolog.Nop())
	s.Alive()
	silent(t, said, 50*time.Millisecond)
	s.started = s.started.Add(-patience)
	s.Alive()
	next(t, said, "READY=1")
}

// TestWatch: a check that fails or hangs is no sign of life.
func TestWatch(t *testing.T) {
	said := systemd(t, 150*time.Millisecond)
	s := New(zerolog.Nop())
	ctx, cancel := context.WithCancel(t.Context())
	const well, failing, hanging = 0, 1, 2
	state, checked := make(chan int, 1), make(chan struct{})
	hung := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Watch(ctx, func(ctx context.Context) error {
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("a check without a time limit")
			}
			select {
			case now := <-state:
				defer func() { checked <- struct{}{} }()
				switch now {
				case failing:
					return errors.New("does not answer")
				case hanging:
					<-hung // deaf to its context
				}
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	state <- well
	<-checked
	next(t, said, "WATCHDOG=1")
	state <- failing
	<-checked
	state <- hanging
	silent(t, said, 300*time.Millisecond)
	close(hung)
	<-checked
	next(t, said, "WATCHDOG=1")
	cancel()
	<-done
}

func TestNobody(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	for name, s := range map[string]*Systemd{"nil": nil, "not started by systemd": New(zerolog.Nop())} {
		s.Ready()
		s.Alive()
		s.Stopping()
		s.Watch(t.Context(), func(context.Context) error {
			t.Errorf("%s: checked for nobody", name)
			return nil
		})
	}
}

// TestForeignWatchdog: the settings of a parent are not for its child.
func TestForeignWatchdog(t *testing.T) {
	systemd(t, time.Second)
	t.Setenv("WATCHDOG_PID", "1")
	if every := New(zerolog.Nop()).Every(); every != 0 {
		t.Errorf("every %s, want none", every)
	}
}
