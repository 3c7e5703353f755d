package topology

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dfaas/dfaas/internal/clip"
)

// Link is what a link does to what goes over it, in each direction. The zero value
// does nothing.
type Link struct {
	Delay time.Duration
	// Jitter is by how much the delay is more or less, evenly distributed. At most
	// Delay.
	Jitter time.Duration
	Rate   float64 // bit/s; 0: as much as the machine can
	Loss   float64 // fraction of packets that are lost, 0 to 1
}

// Bounds of a link.
const (
	MaxDelay = 10 * time.Second
	minRate  = 8e3   // bit/s
	maxRate  = 100e9 // bit/s
)

// Properties are the names of what a link has, in the order in which it is written.
func Properties() []string { return []string{"delay", "jitter", "rate", "loss"} }

// Set gives the link a property, as it is written: delay=20ms jitter=2ms rate=100mbit
// loss=1%. Whether they go together, Check tells.
func (l *Link) Set(property, text string) (err error) {
	switch property {
	case "delay":
		l.Delay, err = parseDelay(text)
	case "jitter":
		l.Jitter, err = parseDelay(text)
	case "rate":
		l.Rate, err = ParseRate(text)
	case "loss":
		l.Loss, err = ParseLoss(text)
	default:
		return fmt.Errorf("a link has no %q, but %s", clip.Text(property), strings.Join(Properties(), ", "))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", property, err)
	}
	return nil
}

// Check reports what makes no sense together.
func (l Link) Check() error {
	if l.Jitter > l.Delay {
		return fmt.Errorf("jitter: %v is more than the delay, %v: nothing arrives before it is sent", l.Jitter, l.Delay)
	}
	return nil
}

func parseDelay(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("a duration like 20ms is expected, not %q", clip.Text(text))
	}
	if d < 0 || d > MaxDelay {
		return 0, fmt.Errorf("%v is outside of 0s to %v", d, MaxDelay)
	}
	return d, nil
}

// units are those of tc, by their size, with the longest names first.
func units() []struct {
	name string
	size float64
} {
	return []struct {
		name string
		size float64
	}{{"gbit", 1e9}, {"mbit", 1e6}, {"kbit", 1e3}, {"bit", 1}}
}

// ParseRate reads 100mbit, bit/s with the units of tc: bit, kbit, mbit, gbit. 0 is
// no limit.
func ParseRate(text string) (float64, error) {
	if text == "0" {
		return 0, nil
	}
	for _, u := range units() {
		number, is := strings.CutSuffix(strings.ToLower(text), u.name)
		if !is {
			continue
		}
		x, err := strconv.ParseFloat(number, 64)
		if err != nil || math.IsNaN(x) {
			break
		}
		if x*u.size < minRate || x*u.size > maxRate {
			return 0, fmt.Errorf("%s is outside of 8kbit to 100gbit", clip.Text(text))
		}
		return x * u.size, nil
	}
	return 0, fmt.Errorf("a rate like 100mbit is expected (bit, kbit, mbit or gbit, per second), not %q", clip.Text(text))
}

// ParseLoss reads 1%, or the fraction 0.01.
func ParseLoss(text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	x, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(x) {
		return 0, fmt.Errorf("a percentage like 1%% or a fraction like 0.01 is expected, not %q", clip.Text(text))
	}
	if percent {
		x /= 100
	}
	if x < 0 || x > 1 {
		return 0, fmt.Errorf("%s is outside of 0%% to 100%%, or 0 to 1", clip.Text(text))
	}
	return x, nil
}

// String writes the link as Set reads it.
func (l Link) String() string {
	var words []string
	add := func(name, value string) { words = append(words, name+"="+value) }
	if l.Delay != 0 {
		add("delay", l.Delay.String())
	}
	if l.Jitter != 0 {
		add("jitter", l.Jitter.String())
	}
	if l.Rate != 0 {
		add("rate", FormatRate(l.Rate))
	}
	if l.Loss != 0 {
		add("loss", strconv.FormatFloat(100*l.Loss, 'g', 6, 64)+"%")
	}
	return strings.Join(words, " ")
}

// FormatRate writes a rate as ParseRate reads it.
func FormatRate(rate float64) string {
	if rate == 0 {
		return "0"
	}
	for _, u := range units() {
		if rate >= u.size {
			return strconv.FormatFloat(rate/u.size, 'g', 6, 64) + u.name
		}
	}
	return strconv.FormatFloat(rate, 'g', 6, 64) + "bit"
}

// Then is the link that does what two do one after the other: what their jitter and
// their rates do together is the worst of it.
func (l Link) Then(next Link) Link {
	out := Link{Delay: l.Delay + next.Delay, Jitter: l.Jitter + next.Jitter, Rate: l.Rate, Loss: 1 - (1-l.Loss)*(1-next.Loss)}
	if l.Rate == 0 || next.Rate != 0 && next.Rate < l.Rate {
		out.Rate = next.Rate
	}
	return out
}
