package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/limit"
)

// A feed is a stream on which a node tells one other what it announces: first the
// whole announcement, then what is other than it was. Nothing on a stream is lost or
// comes twice, so each change is one to what was told before it. When the stream ends,
// another begins with the whole.
//
// A feed consists of frames: a byte that says what it is, the length as a varint, and
// so many bytes. A frame of a kind that is not known is skipped and counted.
//
//	frameWhole   one message of an announcement, as Split writes it
//	frameChange  message Change, below
//
//	message Change {
//	  uint64 gain = 1;        // of seq; 0: one
//	  sint64 later = 2;       // sent_at minus the one before, ms
//	  uint32 period = 3;      // 0: the same
//	  bytes  functions = 4;   // varints: for each function that is other than before
//	                          //   how many are the same since the one before it
//	                          //   a bit for each number that follows, by bitX
//	                          //   these numbers
//	}
//
// All else that an announcement has, and another function, is told whole. What a later
// version adds to Change, and to the bits, is skipped and counted. What would be wrong
// to skip needs another protocol.
const (
	frameWhole  = 'w'
	frameChange = 'c'
)

const (
	changeGain = iota + 1
	changeLater
	changePeriod
	changeFunctions
)

// Frame is a piece of a feed.
type Frame struct {
	Kind byte
	Data []byte
}

// FrameReader is what frames are read from.
type FrameReader interface {
	io.Reader
	io.ByteReader
}

// ErrFrame is wrapped by ReadFrame's error for a frame that nobody may send, as opposed
// to a stream that fails.
var ErrFrame = errors.New("frame of a feed is longer than any may be")

// ReadFrame reads one frame, into buffer if it has room for it. An error of the stream
// is returned as it is.
func ReadFrame(r FrameReader, buffer []byte) (Frame, error) {
	kind, err := r.ReadByte()
	if err != nil {
		return Frame{}, err
	}
	length, err := binary.ReadUvarint(r)
	switch {
	case err != nil:
		return Frame{}, err
	case length > MaxAnnouncement:
		return Frame{}, fmt.Errorf("%w: %d bytes, at most %d are accepted", ErrFrame, length, MaxAnnouncement)
	}
	data := slices.Grow(buffer[:0], int(length))[:length]
	if _, err := io.ReadFull(r, data); err != nil {
		return Frame{}, err
	}
	return Frame{kind, data}, nil
}

func appendFrame(b []byte, kind byte, data []byte) []byte {
	b = binary.AppendUvarint(append(b, kind), uint64(len(data)))
	return append(b, data...)
}

// Fit puts an announcement that this node makes in the form in which feeds and Split
// write it: offers sorted by name, numbers in the units of the wire, what Decode would
// refuse refused. left names the functions for which there is no room, as Split does.
func Fit(a Announcement) (fitting Announcement, left []string, err error) {
	offers := slices.Clone(a.Offers)
	a.V, a.Needs, a.Part, a.Parts, a.Offers = Version, needs, 0, 1, nil
	if err := a.normalize(); err != nil {
		return Announcement{}, nil, err
	}
	offers, left = mostDemanded(offers, MaxOffers)
	if err := normalizeOffers(offers); err != nil {
		return Announcement{}, nil, err
	}
	for i := range offers {
		o := &offers[i]
		for _, rate := range []*limit.Rate{&o.Capacity, &o.UserRate, &o.Limit, &o.Demand} {
			*rate = rate.Rounded()
		}
	}
	a.Offers = offers
	return a, left, nil
}

// AppendFeed appends to b the frames that tell what next says to whoever has been told
// before, nil for nothing. Both are as Fit returns them, of one author.
func AppendFeed(b []byte, before, next *Announcement) ([]byte, error) {
	if before != nil {
		if change, ok := appendChange(nil, before, next); ok {
			return appendFrame(b, frameChange, change), nil
		}
	}
	messages, _, err := Split(*next)
	if err != nil {
		return b, err
	}
	for _, m := range messages {
		b = appendFrame(b, frameWhole, m)
	}
	return b, nil
}

// appendChange reports whether what is other can be told as a change.
func appendChange(b []byte, before, next *Announcement) ([]byte, bool) {
	if before.Epoch != next.Epoch || next.Seq <= before.Seq || before.HTTP != next.HTTP || before.TLS != next.TLS || before.Name != next.Name ||
		before.Async != next.Async || before.Strategy != next.Strategy || before.Leaving != next.Leaving || len(before.Offers) != len(next.Offers) {
		return b, false
	}
	if gain := next.Seq - before.Seq; gain > 1 {
		b = appendInt(b, changeGain, gain)
	}
	b = appendInt(b, changeLater, protowire.EncodeZigZag(next.SentAtMillis-before.SentAtMillis))
	if next.PeriodMillis != before.PeriodMillis {
		b = appendInt(b, changePeriod, uint64(next.PeriodMillis))
	}
	var functions []byte
	same := uint64(0)
	for i := range next.Offers {
		was, is := &before.Offers[i], &next.Offers[i]
		if was.Name != is.Name {
			return b, false
		}
		if *was == *is {
			same++
			continue
		}
		functions = appendNumbers(protowire.AppendVarint(functions, same), was, is)
		same = 0
	}
	if len(functions) > 0 {
		b = protowire.AppendBytes(protowire.AppendTag(b, changeFunctions, protowire.BytesType), functions)
	}
	return b, len(b) <= MaxAnnouncement
}

func appendNumbers(b []byte, was, is *strategy.Offer) []byte {
	before, now := numbersOf(was), numbersOf(is)
	bits := uint64(0)
	for i := range now {
		if now[i] != before[i] {
			bits |= 1 << i
		}
	}
	b = protowire.AppendVarint(b, bits)
	for i := range now {
		if now[i] != before[i] {
			b = protowire.AppendVarint(b, now[i])
		}
	}
	return b
}

// Follower takes in one feed. The zero value has been told nothing. It holds at most one
// announcement of MaxOffers. Not safe for concurrent use.
type Follower struct {
	told    Announcement // without offers
	known   bool         // there is one, whole
	missing int          // parts of it that are still to come, when it is not
	// offers are those that were told, where they were told. It is never changed: a
	// change makes another. odd, unless nil, are those that only a newer version knows,
	// and which nobody is told of.
	offers []strategy.Offer
	odd    map[int]bool
}

// ErrNoBase is the error of Take for a change of what was not understood.
var ErrNoBase = errors.New("change of an announcement that was not understood")

// Take takes in a frame and returns the announcement that it tells or completes. An
// error that wraps ErrNewer or ErrNoBase, and a frame of an unknown kind, for which
// complete is false, are of a newer version's feed. Any other is of a feed that nobody
// may send.
func (f *Follower) Take(frame Frame) (a Announcement, complete bool, err error) {
	switch frame.Kind {
	case frameWhole:
		return f.whole(frame.Data)
	case frameChange:
		return f.change(frame.Data)
	}
	return Announcement{}, false, nil
}

// Knows reports whether a frame's kind is known.
func (f Frame) Knows() bool { return f.Kind == frameWhole || f.Kind == frameChange }

func (f *Follower) whole(data []byte) (Announcement, bool, error) {
	f.known = false
	if isFirst(data) {
		return Announcement{}, false, errors.New("announcement of version 1 on a feed")
	}
	part, odd, err := decodeMessage(data)
	if err == nil {
		err = part.normalize()
	}
	if err != nil {
		f.missing = 0
		return Announcement{}, false, err
	}
	offers := part.Offers
	if len(odd) > 0 {
		offers = withPlaces(part.Offers, odd)
	}
	switch {
	case part.Part == 0:
		f.told, f.offers, f.odd, f.missing = part, nil, nil, part.Parts
		f.told.Offers, f.told.Unknown = nil, 0
	case part.Parts-part.Part != f.missing || part.Epoch != f.told.Epoch || part.Seq != f.told.Seq:
		return Announcement{}, false, errors.New("the parts of an announcement are not in order")
	}
	if n := len(f.offers); n > 0 && len(part.Offers) > 0 && part.Offers[0].Name.Compare(f.lastName()) <= 0 || n+len(offers) > MaxOffers {
		return Announcement{}, false, errors.New("the parts of an announcement do not fit together")
	}
	for _, i := range odd {
		if f.odd == nil {
			f.odd = make(map[int]bool)
		}
		f.odd[len(f.offers)+i] = true
	}
	f.offers = append(f.offers, offers...)
	f.told.Unknown += part.Unknown
	f.missing--
	if f.missing > 0 {
		return Announcement{}, false, nil
	}
	f.told.Part, f.told.Parts = 0, 1
	f.known = true
	return f.announcement(), true, nil
}

func (f *Follower) lastName() funcname.Name {
	for i := len(f.offers) - 1; i >= 0; i-- {
		if !f.odd[i] {
			return f.offers[i].Name
		}
	}
	return funcname.Name{}
}

// withPlaces puts an empty offer where one was that is not known.
func withPlaces(known []strategy.Offer, odd []int) []strategy.Offer {
	all := make([]strategy.Offer, 0, len(known)+len(odd))
	for i, next := 0, 0; len(all) < len(known)+len(odd); {
		if next < len(odd) && odd[next] == len(all) {
			all, next = append(all, strategy.Offer{}), next+1
			continue
		}
		all, i = append(all, known[i]), i+1
	}
	return all
}

// announcement is what has been told.
func (f *Follower) announcement() Announcement {
	a := f.told
	if a.Offers = f.offers; len(f.odd) > 0 {
		a.Offers = make([]strategy.Offer, 0, len(f.offers))
		for i, o := range f.offers {
			if !f.odd[i] {
				a.Offers = append(a.Offers, o)
			}
		}
	}
	return a
}

func (f *Follower) change(data []byte) (Announcement, bool, error) {
	if !f.known {
		return Announcement{}, false, ErrNoBase
	}
	next, gain := f.told, uint64(1)
	next.Unknown = 0
	var functions []byte
	unknown, err := fields(data, func(field protowire.Number, number uint64, text []byte) (bool, error) {
		if field > changeFunctions {
			return false, nil
		}
		if (text != nil) != (field == changeFunctions) {
			return false, fmt.Errorf("a change has field %d of another type", field)
		}
		switch field {
		case changeGain:
			gain = number
		case changeLater:
			next.SentAtMillis += protowire.DecodeZigZag(number)
		case changePeriod:
			next.PeriodMillis = int64(min(number, math.MaxInt64))
		case changeFunctions:
			functions = text
		}
		return true, nil
	})
	if err != nil {
		return Announcement{}, false, err
	}
	if gain == 0 || gain > math.MaxUint64-next.Seq {
		return Announcement{}, false, fmt.Errorf("a change by %d announcements", gain)
	}
	next.Seq += gain
	if err := next.checkPeriod(); err != nil {
		return Announcement{}, false, err
	}
	offers, odd, more, err := f.changed(functions)
	if err != nil {
		return Announcement{}, false, err
	}
	next.Unknown = unknown + more + len(odd)
	f.told, f.offers, f.odd = next, offers, odd
	return f.announcement(), true, nil
}

// changed returns the offers with what is other by now. A newer author's may be out of
// this version's bounds: such a function is left out until it is told whole.
func (f *Follower) changed(functions []byte) (offers []strategy.Offer, odd map[int]bool, unknown int, err error) {
	if len(functions) == 0 {
		return f.offers, f.odd, 0, nil
	}
	offers, odd = slices.Clone(f.offers), f.odd
	number := func() (n uint64) {
		var length int
		if n, length = protowire.ConsumeVarint(functions); length < 0 {
			functions, err = nil, errCut
			return 0
		}
		functions = functions[length:]
		return n
	}
	for place := uint64(0); len(functions) > 0; place++ {
		if place += min(number(), MaxOffers); err != nil || place >= uint64(len(offers)) {
			return nil, nil, 0, errors.Join(err, fmt.Errorf("a change of function number %d, of %d", place, len(offers)))
		}
		bits, told := number(), numbersOf(&offers[place])
		if bits>>maxBits != 0 {
			return nil, nil, 0, fmt.Errorf("a change of %#x", bits)
		}
		for bit := 0; bits>>bit != 0; bit++ {
			switch {
			case bits&(1<<bit) == 0:
			case bit < knownBits:
				told[bit] = number()
			default:
				number()
				unknown++
			}
		}
		if err != nil {
			return nil, nil, 0, err
		}
		if odd[int(place)] {
			continue
		}
		o, wrong := told.offer(offers[place].Name)
		if wrong != nil {
			if f.told.V <= Version {
				return nil, nil, 0, wrong
			}
			odd = withPlace(odd, int(place))
		}
		offers[place] = o
	}
	return offers, odd, unknown, nil
}

func withPlace(odd map[int]bool, place int) map[int]bool {
	more := make(map[int]bool, len(odd)+1)
	maps.Copy(more, odd)
	more[place] = true
	return more
}
