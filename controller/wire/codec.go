package wire

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/protocol"
)

// Version is the version of announcements that this package writes.
const Version = 2

const (
	minPeriod       = 50 * time.Millisecond
	maxStrategyName = 32 // bytes
	maxLabel        = 63 // bytes of one DNS label
)

// ErrNewer is wrapped by Decode's error for an announcement that only a newer
// version understands: its author is newer than this node, not hostile.
var ErrNewer = errors.New("speaks a newer protocol: upgrade this node")

// Decode reads one message that came from the network, of any version. Whatever
// the bytes, it answers with an announcement within every bound, its offers sorted
// by name and HTTP in canonical form, or with an error that says what was wrong.
func Decode(data []byte) (Announcement, error) {
	if len(data) > MaxAnnouncement {
		return Announcement{}, fmt.Errorf("announcement of %d bytes: at most %d are accepted", len(data), MaxAnnouncement)
	}
	decode := decodeCompact
	if isFirst(data) {
		decode = decodeFirst
	} else if protocol.Previous {
		return Announcement{}, errors.New("announcement is not valid JSON of its kind")
	}
	a, err := decode(data)
	if err == nil {
		err = a.normalize()
	}
	if err != nil {
		return Announcement{}, err
	}
	return a, nil
}

// normalize checks every field and puts the announcement in canonical form.
func (a *Announcement) normalize() error {
	switch {
	case a.Epoch <= 0:
		return fmt.Errorf("epoch %d: it must be a Unix time in ms", a.Epoch)
	case a.Seq == 0:
		return errors.New("sequence number 0: they count from 1")
	case a.Parts < 1 || a.Parts > MaxParts || a.Part < 0 || a.Part >= a.Parts:
		return fmt.Errorf("part %d of %d: at most %d are accepted, counted from 0", a.Part, a.Parts, MaxParts)
	case a.checkPeriod() != nil:
		return a.checkPeriod()
	case a.Name != "" && CheckNodeName(a.Name) != nil:
		return CheckNodeName(a.Name)
	case !isName(a.Strategy, maxStrategyName):
		return fmt.Errorf("strategy name %.40q: lower-case letters, digits and dashes, at most %d", a.Strategy, maxStrategyName)
	case len(a.Offers) > MaxOffers:
		return fmt.Errorf("%d functions: at most %d are accepted", len(a.Offers), MaxOffers)
	}
	http, err := ParseHTTP(a.HTTP)
	if err != nil {
		return err
	}
	a.HTTP = http.String()
	return normalizeOffers(a.Offers)
}

func (a *Announcement) checkPeriod() error {
	if a.PeriodMillis < minPeriod.Milliseconds() || a.PeriodMillis > MaxPeriod.Milliseconds() {
		return fmt.Errorf("period of %d ms: it must be within %v and %v", a.PeriodMillis, minPeriod, MaxPeriod)
	}
	return nil
}

func normalizeOffers(offers []strategy.Offer) error {
	slices.SortFunc(offers, func(a, b strategy.Offer) int { return a.Name.Compare(b.Name) })
	for i := range offers {
		if err := checkOffer(&offers[i]); err != nil {
			return err
		}
		if i > 0 && offers[i].Name == offers[i-1].Name {
			return fmt.Errorf("function %q is announced twice", offers[i].Name)
		}
	}
	return nil
}

// checkOffer checks what is not in its type.
func checkOffer(o *strategy.Offer) error {
	if o.Name == (funcname.Name{}) {
		return errors.New("function name: is missing")
	}
	if err := limit.CheckTimeout(o.TimeoutMillis); err != nil {
		return fmt.Errorf("function %q: time limit %w", o.Name, err)
	}
	return nil
}

// mostDemanded returns the most demanded of the offers, at most so many, and the
// names of the others. It may reorder the offers.
func mostDemanded(offers []strategy.Offer, most int) (kept []strategy.Offer, left []string) {
	if len(offers) > most {
		byDemand(offers)
		for _, o := range offers[most:] {
			left = append(left, o.Name.String())
		}
		offers = offers[:most]
	}
	return offers, left
}

func byDemand(offers []strategy.Offer) {
	slices.SortFunc(offers, func(a, b strategy.Offer) int {
		return cmp.Or(b.UserRate.Compare(a.UserRate), b.Capacity.Compare(a.Capacity), a.Name.Compare(b.Name))
	})
}

// ParseHTTP reads the IP:PORT that a node announces for its HAProxy. It must be
// an address that one can connect to: no name, no zone, no port 0, not the
// unspecified address, not multicast or broadcast.
func ParseHTTP(s string) (netip.AddrPort, error) {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("HTTP address %.60q: it must be IP:PORT", s)
	}
	ip := ap.Addr().Unmap()
	broadcast := ip == netip.AddrFrom4([4]byte{255, 255, 255, 255})
	if ap.Port() == 0 || ip.Zone() != "" || ip.IsUnspecified() || ip.IsMulticast() || broadcast {
		return netip.AddrPort{}, fmt.Errorf("HTTP address %.60q: nobody can connect to it", s)
	}
	return netip.AddrPortFrom(ip, ap.Port()), nil
}

// CheckName says whether a federation's name can be used: one lower-case DNS
// label. It becomes part of the gossip topic and of protocol names.
func CheckName(name string) error {
	if !isName(name, maxLabel) {
		return fmt.Errorf("federation name %.80q: use lower-case letters, digits and dashes, at most %d", name, maxLabel)
	}
	return nil
}

// CheckNodeName says whether a node may be called that: one lower-case DNS label.
func CheckNodeName(name string) error {
	if !isName(name, maxLabel) {
		return fmt.Errorf("node name %.80q: use lower-case letters, digits and dashes, at most %d", name, maxLabel)
	}
	return nil
}

// NodeName makes a node's name of its host's: what is before the first dot, in lower
// case and with a dash for what a name may not have. "" if nothing is left.
func NodeName(host string) string {
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	host = strings.Map(func(r rune) rune {
		if r != '-' && (r < 'a' || r > 'z') && (r < '0' || r > '9') {
			return '-'
		}
		return r
	}, host)
	return strings.Trim(host[:min(len(host), maxLabel)], "-")
}

// isName accepts lower-case DNS labels of at most limit bytes.
func isName(s string, limit int) bool {
	if s == "" || len(s) > limit || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}
