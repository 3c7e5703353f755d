// Package notify tells systemd how the program is: ready, alive, stopping. It
// is for units with Type=notify and WatchdogSec; started by anything else, a
// program says nothing and nothing changes.
package notify

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/rs/zerolog"
)

const (
	// patience is how long a program that is alive may wait to be ready. Then it
	// is reported as ready all the same: the boot waits for it, and what it waits
	// for may never come. It must be less than TimeoutStartSec (90 s).
	patience = 30 * time.Second
	// share is how many times within WatchdogSec a program says that it is alive.
	share = 3
)

// Systemd is the service manager that started this program, or nobody. A nil
// *Systemd is nobody. Its methods may be called from any goroutine; Ready and
// Alive never wait, so that no loop hangs because systemd does.
type Systemd struct {
	log     zerolog.Logger
	every   time.Duration // between two signs of life; 0: nobody waits for them
	started time.Time
	ready   atomic.Bool
	sending atomic.Bool
	next    atomic.Int64 // when the next sign of life is due, ns since started
}

// New returns who started this program, by the environment that systemd sets
// (NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID).
func New(log zerolog.Logger) *Systemd {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn().Err(err).Msg("no watchdog: systemd's settings cannot be read")
	}
	return &Systemd{log: log, every: interval / share, started: time.Now()}
}

// Every is how often Alive must be called at least; 0 if nobody waits for it.
func (s *Systemd) Every() time.Duration {
	if s == nil {
		return 0
	}
	return s.every
}

// Ready says that the program does what it is there for. Only the first call counts.
func (s *Systemd) Ready() {
	if s != nil && s.ready.CompareAndSwap(false, true) {
		go s.send(daemon.SdNotifyReady)
	}
}

// Alive says that the program is not hung. It belongs into the loop that would
// be: a timer of its own would go on when the loop does not. It may be called
// as often as the loop turns, and says no more than is needed.
func (s *Systemd) Alive() {
	if s == nil {
		return
	}
	now := time.Since(s.started)
	if now >= patience && !s.ready.Load() {
		s.log.Warn().Dur("after_ms", now).Msg("not ready yet; systemd is told that it is, so that the boot goes on")
		s.Ready()
	}
	next := s.next.Load()
	if s.every == 0 || now < time.Duration(next) || !s.sending.CompareAndSwap(false, true) {
		return
	}
	s.next.Store(int64(now + s.every/2))
	go func() {
		defer s.sending.Store(false)
		s.send(daemon.SdNotifyWatchdog)
	}()
}

// Stopping says that the program ends because it was asked to.
func (s *Systemd) Stopping() {
	if s != nil {
		s.send(daemon.SdNotifyStopping)
	}
}

// StopsWith says Stopping when the context ends. What it returns is to be called
// before the program ends: it waits until that is said.
func (s *Systemd) StopsWith(ctx context.Context) (wait func()) {
	said := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(said)
		s.Stopping()
	})
	return func() {
		if !stop() {
			<-said
		}
	}
}

// Watch is for programs without a loop. Until the context ends it calls check,
// which should take the way that the program's work takes, and says that the
// program is alive whenever check returns nil. If check fails or does not
// return for WatchdogSec, systemd restarts the program.
func (s *Systemd) Watch(ctx context.Context, check func(context.Context) error) {
	if s.Every() == 0 {
		return
	}
	timer := time.NewTicker(s.every)
	defer timer.Stop()
	for {
		if err := bounded(ctx, s.every, check); err == nil {
			s.Alive()
		} else if ctx.Err() == nil {
			s.log.Error().Err(err).Msg("the program does not answer itself; systemd restarts it if this goes on")
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

func bounded(ctx context.Context, d time.Duration, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return check(ctx)
}

func (s *Systemd) send(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.Warn().Err(err).Str("state", state).Msg("cannot tell systemd")
	}
}
