package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/protocol"
	"github.com/dfaas/dfaas/internal/strictjson"
)

// The first version is JSON. Its readers refuse, and punish, every field that is
// not here, every name but lower-case DNS labels, and more than 1,000 functions. It
// is written as it was released, and nothing is ever added to it.

// maxFirstOffers is how many functions an announcement of version 1 may have.
const maxFirstOffers = 1000

type firstForm struct {
	V            int          `json:"v"` // 1
	Epoch        int64        `json:"epoch"`
	Seq          uint64       `json:"seq"`
	SentAtMillis int64        `json:"t"`
	HTTP         string       `json:"http"`
	TLS          bool         `json:"tls,omitempty"`
	Strategy     string       `json:"strategy"`
	PeriodMillis int64        `json:"period_ms"`
	Leaving      bool         `json:"leaving,omitempty"`
	Offers       []firstOffer `json:"f"`
}

type firstOffer struct {
	Name          string  `json:"n"`
	Absent        bool    `json:"a,omitempty"`
	Capacity      float64 `json:"c"`
	UserRate      float64 `json:"u"`
	Limit         float64 `json:"l"`
	Demand        float64 `json:"d,omitempty"`
	TimeoutMillis int64   `json:"t,omitempty"`
}

func (f *firstOffer) offer(name funcname.Name) (strategy.Offer, error) {
	o := strategy.Offer{Name: name, Absent: f.Absent, TimeoutMillis: f.TimeoutMillis}
	var err error
	for _, rate := range []struct {
		into      *limit.Rate
		perSecond float64
	}{{&o.Capacity, f.Capacity}, {&o.UserRate, f.UserRate}, {&o.Limit, f.Limit}, {&o.Demand, f.Demand}} {
		if *rate.into, err = limit.NewRate(rate.perSecond); err != nil {
			return strategy.Offer{}, fmt.Errorf("function %q: rate %w", name, err)
		}
	}
	return o, nil
}

// isFirst tells a message of version 1 by its first byte, which none of a later
// version begins with.
func isFirst(data []byte) bool {
	text := bytes.TrimLeft(data, " \t\r\n")
	return len(text) > 0 && (text[0] == '{' || text[0] == 'n')
}

func decodeFirst(data []byte) (Announcement, error) {
	var f firstForm
	unknown, err := strictjson.Lenient(data, &f)
	if err == nil && unknown != "" && protocol.Previous {
		err = fmt.Errorf("unknown field %q", unknown)
	}
	if v, ok := versionOf(data); ok && v > 1 {
		return Announcement{}, fmt.Errorf("announcement of version %d as JSON: %w", v, ErrNewer)
	}
	switch {
	case err != nil:
		// It may quote what was sent, to any length.
		return Announcement{}, fmt.Errorf("announcement is not valid JSON of its kind: %.120s", err)
	case f.V != 1:
		return Announcement{}, fmt.Errorf("announcement of version %d: they count from 1", f.V)
	case len(f.Offers) > maxFirstOffers:
		return Announcement{}, fmt.Errorf("%d functions: at most %d are accepted", len(f.Offers), maxFirstOffers)
	}
	a := Announcement{
		V: 1, Needs: 1, Epoch: f.Epoch, Seq: f.Seq, Parts: 1, SentAtMillis: f.SentAtMillis, HTTP: f.HTTP, TLS: f.TLS,
		Strategy: f.Strategy, PeriodMillis: f.PeriodMillis, Leaving: f.Leaving,
	}
	if unknown != "" {
		a.Unknown = 1
	}
	for _, o := range f.Offers {
		name, err := funcname.Parse(o.Name)
		if err != nil || !name.InFirst() {
			return Announcement{}, fmt.Errorf("function name %.140q: version 1 has lower-case DNS labels only", o.Name)
		}
		offer, err := o.offer(name)
		if err != nil {
			return Announcement{}, err
		}
		a.Offers = append(a.Offers, offer)
	}
	return a, nil
}

// versionOf returns the version that JSON says it is of, whatever else is in it.
func versionOf(data []byte) (int, bool) {
	var a struct {
		V int `json:"v"`
	}
	return a.V, json.Unmarshal(data, &a) == nil && a.V != 0
}

// Encode writes an announcement in the form of version 1, which every member
// reads, refusing what Decode would refuse. What does not fit, the least demanded
// first, and what version 1 cannot name is left out; left names those functions.
func Encode(a Announcement) (data []byte, left []string, err error) {
	a.Part, a.Parts = 0, 1
	offers := slices.Clone(a.Offers)
	if a.Offers = nil; a.normalize() != nil {
		return nil, nil, a.normalize()
	}
	if err := normalizeOffers(offers); err != nil {
		return nil, nil, err
	}
	f := firstForm{
		V: 1, Epoch: a.Epoch, Seq: a.Seq, SentAtMillis: a.SentAtMillis, HTTP: a.HTTP, TLS: a.TLS, Strategy: a.Strategy,
		PeriodMillis: a.PeriodMillis, Leaving: a.Leaving, Offers: []firstOffer{},
	}
	if data, err = json.Marshal(f); err != nil {
		return nil, nil, fmt.Errorf("encoding the announcement: %w", err)
	}
	nameable := slices.DeleteFunc(slices.Clone(offers), func(o strategy.Offer) bool { return !o.Name.InFirst() })
	if f.Offers, err = fittingFirst(nameable, MaxAnnouncement-len(data)); err != nil {
		return nil, nil, err
	}
	if data, err = json.Marshal(f); err != nil {
		return nil, nil, fmt.Errorf("encoding the announcement: %w", err)
	}
	for _, o := range offers {
		if _, kept := slices.BinarySearchFunc(f.Offers, o.Name.String(), func(f firstOffer, name string) int {
			return strings.Compare(f.Name, name)
		}); !kept {
			left = append(left, o.Name.String())
		}
	}
	return data, left, nil
}

// fittingFirst returns the most demanded of the offers, as many as fit into budget
// bytes, sorted by name.
func fittingFirst(offers []strategy.Offer, budget int) ([]firstOffer, error) {
	byDemand(offers)
	kept := make([]firstOffer, 0, min(len(offers), maxFirstOffers))
	for _, o := range offers[:min(len(offers), maxFirstOffers)] {
		f := firstOffer{
			Name: o.Name.String(), Absent: o.Absent, Capacity: o.Capacity.PerSecond(), UserRate: o.UserRate.PerSecond(),
			Limit: o.Limit.PerSecond(), Demand: o.Demand.PerSecond(), TimeoutMillis: o.TimeoutMillis,
		}
		data, err := json.Marshal(f)
		if err != nil {
			return nil, fmt.Errorf("encoding the offer of function %q: %w", o.Name, err)
		}
		if budget -= len(data) + len(","); budget < 0 {
			break
		}
		kept = append(kept, f)
	}
	slices.SortFunc(kept, func(a, b firstOffer) int { return strings.Compare(a.Name, b.Name) })
	return kept, nil
}
