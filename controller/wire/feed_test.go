package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// told is a feed as bytes, and who follows it.
type told struct {
	t        testing.TB
	before   *Announcement
	follower Follower
	bytes    int // of the last frames
}

// tell tells the announcement and returns what was understood.
func (f *told) tell(a Announcement) Announcement {
	f.t.Helper()
	data, err := AppendFeed(nil, f.before, &a)
	if err != nil {
		f.t.Fatal(err)
	}
	f.before, f.bytes = &a, len(data)
	var got Announcement
	var complete bool
	for r := bufio.NewReader(bytes.NewReader(data)); ; {
		frame, err := ReadFrame(r, nil)
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil || complete {
			f.t.Fatal(complete, err)
		}
		if got, complete, err = f.follower.Take(frame); err != nil {
			f.t.Fatal(err)
		}
	}
	if !complete {
		f.t.Fatal("nothing is complete")
	}
	return got
}

func fit(t testing.TB, a Announcement) Announcement {
	t.Helper()
	a, left, err := Fit(a)
	if err != nil || left != nil {
		t.Fatal(left, err)
	}
	return a
}

// anyOffers are some of so many functions, with whatever numbers.
func anyOffers(random *rand.Rand, functions int, name string) []strategy.Offer {
	var offers []strategy.Offer
	for i := range functions {
		offers = append(offers, strategy.Offer{Name: testvalue.Name(fmt.Sprintf(name, i))})
		change(random, &offers[i])
	}
	return offers
}

func change(random *rand.Rand, o *strategy.Offer) {
	rate := func(r *limit.Rate) {
		if random.IntN(2) == 0 {
			*r = testvalue.Rate([]float64{0, 0.0004, 1e6, 1e6 * random.Float64(), 10 * random.Float64()}[random.IntN(5)])
		}
	}
	rate(&o.Capacity)
	rate(&o.UserRate)
	rate(&o.Limit)
	rate(&o.Demand)
	o.Absent, o.Backup, o.TimeoutMillis = random.IntN(4) == 0, random.IntN(4) == 0, int64(random.IntN(3))*1_800_000
}

// TestFollowersAreToldWhatWasAnnounced: whatever is announced, and whichever of it a
// feed skips, who follows the feed knows what the sender announced last.
func TestFollowersAreToldWhatWasAnnounced(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	changes := 0
	for range 200 {
		feed := told{t: t}
		a := valid()
		a.Offers = anyOffers(random, random.IntN(40), "f%03d")
		for range 30 {
			a.Seq += 1 + uint64(random.IntN(3))
			a.SentAtMillis += int64(random.IntN(4000)) - 1000
			a.Offers = slices.Clone(a.Offers)
			switch random.IntN(12) {
			case 0:
				a.PeriodMillis = 50 + int64(random.IntN(600_000-50))
			case 1:
				a.Name = fmt.Sprintf("edge-%d", random.IntN(3))
			case 2:
				a.Async = !a.Async
			case 3:
				if i := len(a.Offers); i > 0 {
					a.Offers = slices.Delete(a.Offers, i-1, i)
				}
			case 4:
				a.Epoch++
			}
			for i := range a.Offers {
				if random.IntN(5) == 0 {
					change(random, &a.Offers[i])
				}
			}
			want := fit(t, a)
			again := feed.before != nil && sameHead(*feed.before, want)
			if diff := cmp.Diff(want, feed.tell(want), cmpopts.EquateEmpty(), testvalue.Comparable()); diff != "" {
				t.Fatal(diff)
			}
			if again {
				if changes++; feed.bytes > 20+25*len(want.Offers) {
					t.Errorf("a change of %d functions takes %d bytes", len(want.Offers), feed.bytes)
				}
			}
		}
	}
	if changes < 1000 {
		t.Errorf("%d changes only", changes)
	}
}

func sameHead(a, b Announcement) bool {
	return cmp.Equal(a, b, cmpopts.IgnoreFields(Announcement{}, "Seq", "SentAtMillis", "PeriodMillis", "Offers")) &&
		slices.EqualFunc(a.Offers, b.Offers, func(a, b strategy.Offer) bool { return a.Name == b.Name })
}

// TestWhatFeedsCost: what does not change costs next to nothing, and what changes what
// it says.
func TestWhatFeedsCost(t *testing.T) {
	feed := told{t: t}
	a := valid()
	a.SentAtMillis, a.Offers = a.Epoch, anyOffers(rand.New(rand.NewPCG(1, 2)), 100, "function-%03d")
	a = fit(t, a)
	feed.tell(a)
	next := func() { a.Seq++; a.SentAtMillis += 5400; a.Offers = slices.Clone(a.Offers) }
	if next(); len(feed.tell(a).Offers) != 100 || feed.bytes > 5 {
		t.Errorf("nothing new takes %d bytes", feed.bytes)
	}
	next()
	for _, i := range []int{3, 50, 99} {
		a.Offers[i].UserRate = testvalue.Rate(12.345)
	}
	if feed.tell(a); feed.bytes > 5+2+3*4 {
		t.Errorf("three rates take %d bytes", feed.bytes)
	}
}

func TestWholeInParts(t *testing.T) {
	feed := told{t: t}
	a := valid()
	a.Offers = anyOffers(rand.New(rand.NewPCG(3, 4)), MaxOffers, "%04d"+strings.Repeat("x", 59)+"."+strings.Repeat("n", 63))
	a = fit(t, a)
	if diff := cmp.Diff(a, feed.tell(a), testvalue.Comparable()); diff != "" {
		t.Error(diff)
	}
	if feed.bytes < MaxAnnouncement {
		t.Errorf("%d bytes are one part", feed.bytes)
	}
	a.Seq, a.Offers = a.Seq+1, slices.Clone(a.Offers)
	a.Offers[MaxOffers-1].UserRate = testvalue.Rate(7)
	if diff := cmp.Diff(a, feed.tell(a), testvalue.Comparable()); diff != "" || feed.bytes > 20 {
		t.Error(feed.bytes, diff)
	}
}

func TestFitLeavesOutWhatSplitDoes(t *testing.T) {
	a := valid()
	a.Offers = anyOffers(rand.New(rand.NewPCG(3, 4)), MaxOffers+7, "f%d")
	fitting, left, err := Fit(a)
	if err != nil {
		t.Fatal(err)
	}
	_, want, err := Split(a)
	if err != nil || !slices.Equal(left, want) || len(left) != 7 || len(fitting.Offers) != MaxOffers {
		t.Errorf("left %v, want %v, %v", left, want, err)
	}
	a.Epoch = 0
	if _, _, err := Fit(a); err == nil {
		t.Error("an announcement without an epoch fits")
	}
}

// changeOf is a change of functions, as varints.
func changeOf(numbers ...uint64) Frame {
	var functions []byte
	for _, n := range numbers {
		functions = protowire.AppendVarint(functions, n)
	}
	return Frame{frameChange, protowire.AppendBytes(protowire.AppendTag(nil, changeFunctions, protowire.BytesType), functions)}
}

// TestFollowersRefuse what no version may send.
func TestFollowersRefuse(t *testing.T) {
	for name, test := range map[string]struct {
		frame  Frame
		reason string // of the error; "": accepted
	}{
		"nothing":            {changeOf(), ""},
		"a rate":             {changeOf(1, 1<<bitUserRate, 5), ""},
		"no function":        {changeOf(2, 1<<bitUserRate, 5), "function number 2"},
		"beyond any":         {changeOf(1<<63, 0, 1<<63, 0), "function number"},
		"too much":           {changeOf(0, 1<<bitUserRate, 2_000_000_000), "rate"},
		"too long a time":    {changeOf(0, 1<<bitTimeout, 3_600_001), "time limit"},
		"cut in the numbers": {changeOf(0, 1<<bitUserRate), "cut"},
		"cut in the bits":    {changeOf(0), "cut"},
		"no such bits":       {changeOf(0, 1<<maxBits, 1), "change of"},
		"later bits":         {changeOf(0, 1<<knownBits|1<<bitUserRate, 5, 77), ""},
		"gain of nothing":    {Frame{frameChange, protowire.AppendVarint(protowire.AppendTag(nil, changeGain, protowire.VarintType), 0)}, "change by 0"},
		"gain without end":   {Frame{frameChange, appendInt(nil, changeGain, 1<<64-1)}, "change by"},
		"short period":       {Frame{frameChange, appendInt(nil, changePeriod, 49)}, "period"},
		"text for a number":  {Frame{frameChange, appendText(nil, changeGain, "x")}, "another type"},
		"number for a text":  {Frame{frameChange, appendInt(nil, changeFunctions, 1)}, "another type"},
		"twice":              {Frame{frameChange, appendInt(appendInt(nil, changeGain, 1), changeGain, 1)}, "twice"},
		"no protobuf":        {Frame{frameChange, []byte{0xff}}, "cut"},
		"later fields":       {Frame{frameChange, appendInt(nil, changeFunctions+1, 1)}, ""},
		"version 1":          {Frame{frameWhole, []byte(`{"v":1}`)}, "version 1"},
		"half of nothing":    {Frame{frameWhole, partOf(1, 2)}, "not in order"},
		"another kind":       {Frame{'x', []byte("?")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			feed := told{t: t}
			feed.tell(fit(t, valid()))
			before := feed.follower.announcement()
			_, complete, err := feed.follower.Take(test.frame)
			checkReason(t, err, test.reason)
			if complete == (err != nil) && test.frame.Knows() {
				t.Errorf("complete is %v", complete)
			}
			if err != nil && test.frame.Kind == frameChange {
				if diff := cmp.Diff(before, feed.follower.announcement(), testvalue.Comparable()); diff != "" {
					t.Error("a refused change was made", diff)
				}
			}
		})
	}
}

func partOf(part, parts int) []byte {
	a := valid()
	return append(a.appendHead(nil, part, parts), appendOffers(a.Offers, 1<<20)[0]...)
}

func TestChangeWithoutBase(t *testing.T) {
	var f Follower
	if _, _, err := f.Take(changeOf()); !errors.Is(err, ErrNoBase) {
		t.Error(err)
	}
	if _, complete, err := f.Take(Frame{frameWhole, partOf(0, 2)}); complete || err != nil {
		t.Fatal(complete, err)
	}
	if _, _, err := f.Take(changeOf()); !errors.Is(err, ErrNoBase) {
		t.Error("a change of half an announcement:", err)
	}
	newest := append(appendInt(nil, fieldVersion, 9), appendInt(nil, fieldNeeds, 9)...)
	if _, _, err := f.Take(Frame{frameWhole, newest}); !errors.Is(err, ErrNewer) {
		t.Error(err)
	}
	if _, _, err := f.Take(changeOf()); !errors.Is(err, ErrNoBase) {
		t.Error("a change of what only a newer version understands:", err)
	}
}

// TestNewerFeeds: a function that only a newer version knows is left out, and the
// others are not taken for each other.
func TestNewerFeeds(t *testing.T) {
	a := valid()
	a.Offers = []strategy.Offer{{Name: testvalue.Name("a"), UserRate: testvalue.Rate(1)}, {Name: testvalue.Name("b.b"), UserRate: testvalue.Rate(2)}, {Name: testvalue.Name("c"), UserRate: testvalue.Rate(3)}, {Name: testvalue.Name("d"), UserRate: testvalue.Rate(4)}}
	whole := append(a.appendHead(nil, 0, 1), appendOffers(a.Offers, 1<<20)[0]...)
	whole = bytes.Replace(whole, []byte("b.b"), []byte("b b"), 1)
	_, _, n := protowire.ConsumeField(whole)
	whole = append(appendInt(nil, fieldVersion, Version+1), whole[n:]...)
	var f Follower
	take := func(frame Frame, want string) {
		t.Helper()
		got, complete, err := f.Take(frame)
		if err != nil || !complete || got.Unknown == 0 {
			t.Fatal(got.Unknown, complete, err)
		}
		text := ""
		for _, o := range got.Offers {
			text += fmt.Sprintf("%s=%v ", o.Name, o.UserRate)
		}
		if text != want {
			t.Errorf("understood %q, want %q", text, want)
		}
	}
	take(Frame{frameWhole, whole}, "a=1 c=3 d=4 ")
	take(changeOf(1, 1<<bitUserRate, 7000, 0, 1<<bitUserRate, 9000), "a=1 c=9 d=4 ")
	take(changeOf(2, 1<<bitUserRate, 2_000_000_000), "a=1 d=4 ")
	take(changeOf(3, 1<<bitUserRate, 5000), "a=1 d=5 ")
	take(Frame{frameWhole, whole}, "a=1 c=3 d=4 ")
}

func TestFramesAreBounded(t *testing.T) {
	long := append([]byte{frameWhole}, protowire.AppendVarint(nil, MaxAnnouncement+1)...)
	if _, err := ReadFrame(bufio.NewReader(bytes.NewReader(long)), nil); !errors.Is(err, ErrFrame) {
		t.Error(err)
	}
	cut := append([]byte{frameWhole}, 5, 'x')
	if _, err := ReadFrame(bufio.NewReader(bytes.NewReader(cut)), nil); err == nil || errors.Is(err, ErrFrame) {
		t.Error(err)
	}
}

// FuzzFollow: whatever a feed is, all that is understood of it is within bounds, and no
// announcement that was handed out changes.
func FuzzFollow(f *testing.F) {
	a, _, err := Fit(valid())
	if err != nil {
		f.Fatal(err)
	}
	data, err := AppendFeed(nil, nil, &a)
	if err != nil {
		f.Fatal(err)
	}
	next := a
	next.Seq, next.Offers = 5, []strategy.Offer{a.Offers[0], {Name: a.Offers[1].Name, UserRate: testvalue.Rate(3), Absent: true}}
	if data, err = AppendFeed(data, &a, &next); err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(append(appendFrame(nil, frameWhole, partOf(0, 2)), 'x', 1, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		var follower Follower
		var heard, copies []Announcement
		r := bufio.NewReader(bytes.NewReader(data))
		for {
			frame, err := ReadFrame(r, nil)
			if err != nil {
				break
			}
			a, complete, err := follower.Take(frame)
			if err != nil && complete {
				t.Fatal("an announcement with an error")
			}
			if !complete {
				continue
			}
			again := a
			again.Offers = slices.Clone(a.Offers)
			heard, copies = append(heard, a), append(copies, again)
			checked := again
			if err := checked.normalize(); err != nil || len(a.Offers) > MaxOffers {
				t.Fatalf("%+v: %v", a, err)
			}
		}
		for i := range heard {
			if !slices.Equal(heard[i].Offers, copies[i].Offers) {
				t.Fatal("an announcement has changed since")
			}
		}
	})
}

func BenchmarkFeed(b *testing.B) {
	for _, functions := range []int{1, 10, 100} {
		before := valid()
		before.Offers = anyOffers(rand.New(rand.NewPCG(1, 2)), functions, "function-%03d")
		before = fit(b, before)
		next := before
		next.Seq, next.Offers = before.Seq+1, slices.Clone(before.Offers)
		for i := range next.Offers {
			if i%5 == 0 {
				next.Offers[i].UserRate = testvalue.Rate(12.345)
			}
		}
		frame, err := AppendFeed(nil, &before, &next)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("tell/%d", functions), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := AppendFeed(frame[:0], &before, &next); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("follow/%d", functions), func(b *testing.B) {
			feed := told{t: b}
			feed.tell(before)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := feed.follower.Take(Frame{frameChange, frame[2:]}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(frame)), "bytes")
		})
	}
}
