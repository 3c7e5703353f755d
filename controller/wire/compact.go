package wire

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/internal/funcname"
)

// From version 2 on, a message is in the encoding of Protocol Buffers, as this
// schema describes it. A later version adds fields with new numbers, which this one
// skips and counts. What would be wrong to skip makes the writer raise "needs".
// The numbers of fields that went are never used again.
//
//	message Announcement {
//	  uint32 version = 1;         // these two come first, in every version
//	  uint32 needs = 2;
//	  uint64 epoch = 3;           // Unix ms
//	  uint64 seq = 4;
//	  int64  sent_at = 5;         // Unix ms
//	  string http = 6;            // IP:PORT
//	  bool   tls = 7;
//	  string strategy = 8;
//	  uint32 period = 9;          // ms
//	  bool   leaving = 10;
//	  uint32 part = 11;           // from 0
//	  uint32 parts = 12;          // 0: one
//	  string name = 13;
//	  bool   async = 14;
//	  repeated Offer offers = 15; // by name, ascending, over all parts
//	}
//	message Offer {
//	  uint32 shared = 1;          // leading bytes of the name before it in this message
//	  bytes  rest = 2;            // of the name
//	  bool   absent = 3;
//	  uint32 capacity = 4;        // thousandths of a request/s, like the next three
//	  uint32 user_rate = 5;
//	  uint32 limit = 6;
//	  uint32 demand = 7;
//	  uint32 timeout = 8;         // ms
//	  bool   backup = 9;
//	}
//
// Fields that are 0, false or empty are left out; none but offers occurs twice.
const (
	fieldVersion = iota + 1
	fieldNeeds
	fieldEpoch
	fieldSeq
	fieldSentAt
	fieldHTTP
	fieldTLS
	fieldStrategy
	fieldPeriod
	fieldLeaving
	fieldPart
	fieldParts
	fieldName
	fieldAsync
	fieldOffer
)

const (
	offerShared = iota + 1
	offerRest
	offerAbsent
	offerCapacity
	offerUserRate
	offerLimit
	offerDemand
	offerTimeout
	offerBackup
)

// needs is the least version that understands what Split writes.
const needs = 2

// Split writes an announcement in the form of this version, in as many messages
// as it takes, refusing what Decode would refuse. left names the functions for
// which there is no room: over MaxOffers, those with the least demand, then the
// least capacity.
func Split(a Announcement) (messages [][]byte, left []string, err error) {
	offers := slices.Clone(a.Offers)
	a.Offers, a.Part, a.Parts = nil, 0, 1
	if err := a.normalize(); err != nil {
		return nil, nil, err
	}
	if offers, left = mostDemanded(offers, MaxOffers); offers == nil {
		offers = []strategy.Offer{}
	}
	if err := normalizeOffers(offers); err != nil {
		return nil, nil, err
	}
	bodies := appendOffers(offers, MaxAnnouncement-len(a.appendHead(nil, MaxParts-1, MaxParts)))
	if len(bodies) > MaxParts {
		return nil, nil, fmt.Errorf("%d functions take %d messages: at most %d may be sent", len(offers), len(bodies), MaxParts)
	}
	for part, body := range bodies {
		messages = append(messages, append(a.appendHead(nil, part, len(bodies)), body...))
	}
	return messages, left, nil
}

func (a *Announcement) appendHead(b []byte, part, parts int) []byte {
	if parts == 1 {
		parts = 0
	}
	b = appendInt(b, fieldVersion, Version)
	b = appendInt(b, fieldNeeds, needs)
	b = appendInt(b, fieldEpoch, uint64(a.Epoch))
	b = appendInt(b, fieldSeq, a.Seq)
	b = appendInt(b, fieldSentAt, uint64(a.SentAtMillis))
	b = appendText(b, fieldHTTP, a.HTTP)
	b = appendInt(b, fieldTLS, protowire.EncodeBool(a.TLS))
	b = appendText(b, fieldStrategy, a.Strategy)
	b = appendInt(b, fieldPeriod, uint64(a.PeriodMillis))
	b = appendInt(b, fieldLeaving, protowire.EncodeBool(a.Leaving))
	b = appendInt(b, fieldPart, uint64(part))
	b = appendInt(b, fieldParts, uint64(parts))
	b = appendText(b, fieldName, a.Name)
	return appendInt(b, fieldAsync, protowire.EncodeBool(a.Async))
}

// appendOffers returns the offers, sorted by name, in pieces of at most size
// bytes; one piece at least.
func appendOffers(offers []strategy.Offer, size int) [][]byte {
	var pieces [][]byte
	var piece, field []byte
	before := ""
	for i := range offers {
		field = appendOffer(field[:0], &offers[i], before)
		if len(piece)+len(field) > size {
			pieces, piece = append(pieces, piece), nil
			field = appendOffer(field[:0], &offers[i], "")
		}
		piece, before = append(piece, field...), offers[i].Name.String()
	}
	return append(pieces, piece)
}

func appendOffer(b []byte, o *strategy.Offer, before string) []byte {
	name, shared := o.Name.String(), 0
	for shared < min(len(before), len(name)) && before[shared] == name[shared] {
		shared++
	}
	var m []byte
	m = appendInt(m, offerShared, uint64(shared))
	m = appendText(m, offerRest, name[shared:])
	m = appendInt(m, offerAbsent, protowire.EncodeBool(o.Absent))
	m = appendInt(m, offerCapacity, o.Capacity.Thousandths())
	m = appendInt(m, offerUserRate, o.UserRate.Thousandths())
	m = appendInt(m, offerLimit, o.Limit.Thousandths())
	m = appendInt(m, offerDemand, o.Demand.Thousandths())
	m = appendInt(m, offerTimeout, uint64(o.TimeoutMillis))
	m = appendInt(m, offerBackup, protowire.EncodeBool(o.Backup))
	return protowire.AppendBytes(protowire.AppendTag(b, fieldOffer, protowire.BytesType), m)
}

func appendInt(b []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func appendText(b []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

var errCut = errors.New("announcement is cut short or no Protocol Buffers")

// fields calls each for every field of a message: with the number it has, for a
// varint, or with its bytes. Those of other types are skipped, for they are of a
// later version, like those for which each returns false: unknown counts them.
func fields(b []byte, each func(field protowire.Number, number uint64, text []byte) (known bool, err error)) (unknown int, err error) {
	var seen uint64
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0, errCut
		}
		b = b[n:]
		var number uint64
		var text []byte
		known := false
		switch kind {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			text, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return 0, errCut
		}
		b = b[n:]
		if kind == protowire.VarintType || kind == protowire.BytesType {
			if known, err = each(field, number, text); err != nil {
				return 0, err
			}
		}
		switch {
		case !known:
			unknown++
		case field != fieldOffer && seen&(1<<field) != 0:
			return 0, fmt.Errorf("announcement has field %d twice", field)
		default:
			seen |= 1 << field
		}
	}
	return unknown, nil
}

// rangeOf reads the two fields that every version begins with.
func rangeOf(data []byte) (version, needs uint64, err error) {
	for _, want := range []struct {
		field protowire.Number
		into  *uint64
	}{{fieldVersion, &version}, {fieldNeeds, &needs}} {
		field, kind, n := protowire.ConsumeTag(data)
		if n < 0 || field != want.field || kind != protowire.VarintType {
			return 0, 0, errors.New("announcement does not begin with its version")
		}
		data = data[n:]
		if *want.into, n = protowire.ConsumeVarint(data); n < 0 {
			return 0, 0, errCut
		}
		data = data[n:]
	}
	if version < 2 || needs < 1 || needs > version || version > math.MaxInt32 {
		return 0, 0, fmt.Errorf("announcement of version %d that needs %d: it needs at least 1 and at most itself", version, needs)
	}
	return version, needs, nil
}

func decodeCompact(data []byte) (Announcement, error) {
	a, _, err := decodeMessage(data)
	return a, err
}

// decodeMessage is decodeCompact that also returns the places of the offers that were
// left out, since only a newer version knows such.
func decodeMessage(data []byte) (a Announcement, odd []int, err error) {
	version, least, err := rangeOf(data)
	if err != nil {
		return Announcement{}, nil, err
	}
	if least > Version {
		return Announcement{}, nil, fmt.Errorf("announcement of version %d: %w", version, ErrNewer)
	}
	d := decoder{a: Announcement{V: int(version), Needs: int(least), Parts: 1}, newer: version > Version}
	unknown, err := fields(data, d.field)
	d.a.Unknown += unknown
	return d.a, d.odd, err
}

// decoder reads one message.
type decoder struct {
	a      Announcement
	newer  bool   // than this version
	before string // name of the last offer
	count  int    // of offers
	odd    []int  // places of those that were left out
}

func (d *decoder) field(field protowire.Number, number uint64, text []byte) (known bool, err error) {
	a, isText := &d.a, text != nil
	if isText != (field == fieldHTTP || field == fieldStrategy || field == fieldName || field == fieldOffer) {
		return false, d.wrongType(field)
	}
	switch field {
	case fieldVersion, fieldNeeds:
	case fieldEpoch:
		a.Epoch = int64(number)
	case fieldSeq:
		a.Seq = number
	case fieldSentAt:
		a.SentAtMillis = int64(number)
	case fieldHTTP:
		a.HTTP = string(text[:min(len(text), 100)]) // longer than any address
	case fieldTLS:
		a.TLS = number != 0
	case fieldStrategy:
		a.Strategy = string(text[:min(len(text), maxStrategyName+1)])
	case fieldPeriod:
		a.PeriodMillis = int64(number)
	case fieldLeaving:
		a.Leaving = number != 0
	case fieldPart:
		a.Part = int(min(number, MaxParts))
	case fieldParts:
		a.Parts = int(min(number, MaxParts+1))
	case fieldName:
		return d.name(string(text[:min(len(text), maxLabel+1)]))
	case fieldAsync:
		a.Async = number != 0
	case fieldOffer:
		return true, d.offer(text)
	default:
		return false, nil
	}
	return true, nil
}

// name reads the author's name. A newer author may have one that is none here: it is
// left out and counted.
func (d *decoder) name(name string) (known bool, err error) {
	if err := CheckNodeName(name); err != nil {
		if d.newer {
			return false, nil
		}
		return false, err
	}
	d.a.Name = name
	return true, nil
}

// wrongType returns an error for a field of this version.
func (d *decoder) wrongType(field protowire.Number) error {
	if field <= fieldOffer {
		return fmt.Errorf("announcement has field %d of another type", field)
	}
	return nil
}

// offer reads one function. A newer author may offer what is out of this version's
// bounds: that function is left out and counted. All others may not.
func (d *decoder) offer(data []byte) error {
	if d.count++; d.count > MaxOffers {
		return fmt.Errorf("function number %d: at most %d are accepted", d.count, MaxOffers)
	}
	name, numbers, unknown, err := d.readOffer(data)
	if err != nil {
		return err
	}
	if d.count > 1 && name <= d.before {
		return fmt.Errorf("function %.140q is announced twice, or not in order", name)
	}
	d.before = name
	d.a.Unknown += unknown
	o, err := offerOf(name, &numbers)
	if err != nil {
		if d.newer {
			d.a.Unknown++
			d.odd = append(d.odd, d.count-1)
			return nil
		}
		return err
	}
	d.a.Offers = append(d.a.Offers, o)
	return nil
}

func offerOf(text string, numbers *numbers) (strategy.Offer, error) {
	name, err := funcname.Parse(text)
	if err != nil {
		return strategy.Offer{}, fmt.Errorf("function name %w", err)
	}
	return numbers.offer(name)
}

// maxRawName bounds the names of any version, in bytes.
const maxRawName = 2 * funcname.MaxLen

// readOffer returns the name of a function and the numbers of an offer as they are written.
func (d *decoder) readOffer(data []byte) (name string, n numbers, unknown int, err error) {
	var shared uint64
	var rest []byte
	unknown, err = fields(data, func(field protowire.Number, number uint64, text []byte) (bool, error) {
		if (text != nil) != (field == offerRest) {
			if field <= offerBackup {
				return false, fmt.Errorf("an offer has field %d of another type", field)
			}
			return false, nil
		}
		switch field {
		case offerShared:
			shared = number
		case offerRest:
			rest = text
		case offerAbsent:
			n[bitFlags] |= flagAbsent * min(number, 1)
		case offerCapacity:
			n[bitCapacity] = number
		case offerUserRate:
			n[bitUserRate] = number
		case offerLimit:
			n[bitLimit] = number
		case offerDemand:
			n[bitDemand] = number
		case offerTimeout:
			n[bitTimeout] = number
		case offerBackup:
			n[bitFlags] |= flagBackup * min(number, 1)
		default:
			return false, nil
		}
		return true, nil
	})
	switch {
	case err != nil:
		return "", n, 0, err
	case shared > uint64(len(d.before)) || shared+uint64(len(rest)) > maxRawName:
		return "", n, 0, errors.New("a function's name is longer than any, or shares more than there is")
	}
	return d.before[:shared] + string(rest), n, unknown, nil
}
