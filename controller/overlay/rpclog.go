package overlay

import (
	"context"
	"errors"
	"log/slog"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-msgio"
)

// oversize is a log handler that counts frames too long for gossipsub to read.
// Gossipsub resets the stream then and tells nobody but its log.
type oversize struct {
	metrics *metrics
	refused *refusals
}

func rpcLogger(m *metrics, refused *refusals) *slog.Logger {
	return slog.New(oversize{m, refused})
}

// Enabled takes in all levels: the error is logged at the lowest.
func (oversize) Enabled(context.Context, slog.Level) bool { return true }

// Handle counts the record if it is about a frame that was too long.
func (h oversize) Handle(_ context.Context, r slog.Record) error {
	var from peer.ID
	tooLong := false
	r.Attrs(func(a slog.Attr) bool {
		switch v := a.Value.Any().(type) {
		case peer.ID:
			from = v
		case error:
			tooLong = errors.Is(v, msgio.ErrMsgTooLarge)
		}
		return true
	})
	if tooLong {
		h.refused.add(from.String(), "sent a gossip frame longer than any node may send")
		h.metrics.refused.WithLabelValues(reasonTooLarge).Inc()
	}
	return nil
}

// WithAttrs returns the handler as it is: what it looks for is in the records.
func (h oversize) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup returns the handler as it is.
func (h oversize) WithGroup(string) slog.Handler { return h }
