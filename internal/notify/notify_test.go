package notify

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/internal/notify/notifytest"
)

// systemd starts this process as a service with that WatchdogSec.
func systemd(t *testing.T, watchdog time.Duration) <-chan string {
	t.Helper()
	environ, said := notifytest.Systemd(t, watchdog)
	t.Setenv("WATCHDOG_USEC", "")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		t.Setenv(name, value)
	}
	return said
}

func TestReadyOnceAndStopping(t *testing.T) {
	said := systemd(t, 0)
	s := New(zerolog.Nop())
	s.Ready()
	notifytest.Want(t, said, "READY=1")
	s.Ready()
	s.Alive() // nobody watches
	s.Stopping()
	notifytest.Want(t, said, "STOPPING=1")
	notifytest.Silent(t, said, 50*time.Millisecond)
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
	for last := start; last.Sub(start) < 2*watchdog; { // the last turn is that late, however busy the machine
		last = time.Now()
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
	notifytest.Silent(t, said, 50*time.Millisecond)
	s.started = s.started.Add(-patience)
	s.Alive()
	notifytest.Want(t, said, "READY=1")
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
	notifytest.Want(t, said, "WATCHDOG=1")
	state <- failing
	<-checked
	state <- hanging
	notifytest.Silent(t, said, 300*time.Millisecond)
	close(hung)
	<-checked
	notifytest.Want(t, said, "WATCHDOG=1")
	cancel()
	<-done
}

func TestNobody(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	// Its goroutines end with it: they would speak to the systemd of another test.
	synctest.Test(t, func(t *testing.T) {
		for name, s := range map[string]*Systemd{"nil": nil, "not started by systemd": New(zerolog.Nop())} {
			s.Ready()
			s.Alive()
			s.Stopping()
			s.Watch(t.Context(), func(context.Context) error {
				t.Errorf("%s: checked for nobody", name)
				return nil
			})
		}
	})
}

// TestForeignWatchdog: the settings of a parent are not for its child.
func TestForeignWatchdog(t *testing.T) {
	systemd(t, time.Second)
	t.Setenv("WATCHDOG_PID", "1")
	if every := New(zerolog.Nop()).Every(); every != 0 {
		t.Errorf("every %s, want none", every)
	}
}
