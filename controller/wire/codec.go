package wire

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/spoa/table"
)

// Version is the version of the announcement format that this package speaks.
const Version = 1

const (
	minPeriod       = 50 * time.Millisecond
	maxStrategyName = 32 // bytes
	maxLabel        = 63 // bytes of one DNS label
)

// ErrVersion is wrapped by Decode's error for an announcement of another
// version: its author is newer than this node, not hostile.
var ErrVersion = errors.New("another version of the announcement format")

// Decode reads an announcement that came from the network. Whatever the bytes,
// it answers with an announcement within every bound, its offers sorted by name
// and HTTP in canonical form, or with an error that says what was wrong.
func Decode(data []byte) (Announcement, error) {
	var a Announcement
	if len(data) > MaxAnnouncement {
		return Announcement{}, fmt.Errorf("announcement of %d bytes: at most %d are accepted", len(data), MaxAnnouncement)
	}
	if err := strictUnmarshal(data, &a); err != nil {
		if v, ok := versionOf(data); ok && v != Version {
			return Announcement{}, fmt.Errorf("announcement of version %d: %w", v, ErrVersion)
		}
		// It may quote what was sent, to any length.
		return Announcement{}, fmt.Errorf("announcement is not valid JSON of its kind: %.120s", err)
	}
	if err := a.normalize(); err != nil {
		return Announcement{}, err
	}
	return a, nil
}

// Encode writes an announcement as it goes on the wire, refusing what Decode
// would refuse. If it has more offers than fit, those with the least demand
// (then the least capacity) are left out; dropped tells how many.
func Encode(a Announcement) (data []byte, dropped int, err error) {
	offers := a.Offers
	a.Offers = []strategy.Offer{}
	if data, err = json.Marshal(a); err != nil {
		return nil, 0, fmt.Errorf("encoding the announcement: %w", err)
	}
	if a.Offers, err = fitting(offers, MaxAnnouncement-len(data)); err != nil {
		return nil, 0, err
	}
	if err = a.normalize(); err != nil {
		return nil, 0, err
	}
	if data, err = json.Marshal(a); err != nil {
		return nil, 0, fmt.Errorf("encoding the announcement: %w", err)
	}
	return data, len(offers) - len(a.Offers), nil
}

// fitting returns the most demanded of the offers, as many as fit into budget
// bytes of JSON and into MaxOffers.
func fitting(offers []strategy.Offer, budget int) ([]strategy.Offer, error) {
	kept := slices.DeleteFunc(slices.Clone(offers), func(o strategy.Offer) bool { return funcname.Valid(o.Name) && !funcname.ValidFirst(o.Name) })
	slices.SortFunc(kept, func(a, b strategy.Offer) int {
		return cmp.Or(cmp.Compare(b.UserRate, a.UserRate), cmp.Compare(b.Capacity, a.Capacity), cmp.Compare(a.Name, b.Name))
	})
	kept = kept[:min(len(kept), MaxOffers)]
	for i, o := range kept {
		data, err := json.Marshal(o)
		if err != nil {
			return nil, fmt.Errorf("encoding the offer of function %q: %w", o.Name, err)
		}
		if budget -= len(data) + len(","); budget < 0 {
			return kept[:i], nil
		}
	}
	return kept, nil
}

func strictUnmarshal(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the announcement")
	}
	return nil
}

func versionOf(data []byte) (int, bool) {
	var a struct {
		V int `json:"v"`
	}
	return a.V, json.Unmarshal(data, &a) == nil && a.V != 0
}

// normalize checks every field and puts the announcement in canonical form.
func (a *Announcement) normalize() error {
	switch {
	case a.V != Version:
		return fmt.Errorf("announcement of version %d: %w", a.V, ErrVersion)
	case a.Epoch <= 0:
		return fmt.Errorf("epoch %d: it must be a Unix time in ms", a.Epoch)
	case a.Seq == 0:
		return errors.New("sequence number 0: they count from 1")
	case a.PeriodMillis < minPeriod.Milliseconds() || a.PeriodMillis > MaxPeriod.Milliseconds():
		return fmt.Errorf("period of %d ms: it must be within %v and %v", a.PeriodMillis, minPeriod, MaxPeriod)
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

func normalizeOffers(offers []strategy.Offer) error {
	slices.SortFunc(offers, func(a, b strategy.Offer) int { return strings.Compare(a.Name, b.Name) })
	for i, o := range offers {
		if !isFunctionName(o.Name) {
			return fmt.Errorf("function name %.140q: it must be NAME or NAME.NAMESPACE in lower-case DNS labels", o.Name)
		}
		if i > 0 && o.Name == offers[i-1].Name {
			return fmt.Errorf("function %q is announced twice", o.Name)
		}
		for _, rate := range []float64{o.Capacity, o.UserRate, o.Limit, o.Demand} {
			if !(rate >= 0 && rate <= table.MaxRate) || math.IsNaN(rate) {
				return fmt.Errorf("function %q: rate %v: rates are 0 to %v requests/s", o.Name, rate, float64(table.MaxRate))
			}
		}
		if o.TimeoutMillis < 0 || o.TimeoutMillis > table.MaxTimeoutMillis {
			return fmt.Errorf("function %q: time limit of %d ms: they are 0 to %d ms", o.Name, o.TimeoutMillis, table.MaxTimeoutMillis)
		}
	}
	return nil
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

// isFunctionName accepts NAME and NAME.NAMESPACE, each a lower-case DNS label.
func isFunctionName(s string) bool {
	name, namespace, dotted := strings.Cut(s, ".")
	return isName(name, maxLabel) && (!dotted || isName(namespace, maxLabel))
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
