package overlay

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestTrafficIsShown by what it is for, each use once, before there is any, too.
func TestTrafficIsShown(t *testing.T) {
	var traffic traffic
	reg := prometheus.NewPedanticRegistry()
	traffic.register(reg)
	traffic.LogSentMessageStream(7, "/meshsub/1.2.0", "")
	traffic.LogRecvMessageStream(5, "/dfaas/x"+feedSuffix, "")
	traffic.LogRecvMessageStream(3, "/ipfs/ping/1.0.0", "")
	const want = `
# HELP dfaas_overlay_received_bytes_total Bytes received from other controllers, by what they are for.
# TYPE dfaas_overlay_received_bytes_total counter
dfaas_overlay_received_bytes_total{use="feed"} 5
dfaas_overlay_received_bytes_total{use="gossip"} 0
dfaas_overlay_received_bytes_total{use="other"} 3
# HELP dfaas_overlay_sent_bytes_total Bytes sent to other controllers, by what they are for.
# TYPE dfaas_overlay_sent_bytes_total counter
dfaas_overlay_sent_bytes_total{use="feed"} 0
dfaas_overlay_sent_bytes_total{use="gossip"} 7
dfaas_overlay_sent_bytes_total{use="other"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
