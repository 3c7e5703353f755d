package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/testvalue"
)

func valid() Announcement {
	return Announcement{
		V: Version, Needs: needs, Parts: 1, Epoch: 1_700_000_000_000, Seq: 1, HTTP: "192.0.2.1:8081", Strategy: "headroom", PeriodMillis: 1000,
		Offers: []strategy.Offer{{Name: testvalue.Name("cat"), Capacity: testvalue.Rate(10), Backup: true}, {Name: testvalue.Name("ocr.vision"), UserRate: testvalue.Rate(2.5), Limit: testvalue.Rate(1), TimeoutMillis: 300_000}},
	}
}

func TestDecodeAcceptsWhatIsWritten(t *testing.T) {
	testvalue.SkipPrevious(t, "it reads JSON only")
	data, left, err := Encode(valid())
	if err != nil || left != nil {
		t.Fatalf("Encode: left %v, %v", left, err)
	}
	got, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	want := valid()
	want.V, want.Needs = 1, 1
	want.Offers[0].Backup = false // version 1 has no form for it
	if diff := cmp.Diff(want, got, testvalue.Comparable()); diff != "" {
		t.Error(diff)
	}
	messages, left, err := Split(valid())
	if err != nil || len(messages) != 1 || left != nil {
		t.Fatalf("Split: %d messages, left %v, %v", len(messages), left, err)
	}
	if got, err = Decode(messages[0]); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(valid(), got, testvalue.Comparable()); diff != "" {
		t.Error(diff)
	}
}

func TestDecodePutsInCanonicalForm(t *testing.T) {
	got, err := Decode([]byte(`{"v":1,"epoch":1,"seq":1,"http":"[::ffff:192.0.2.1]:80","strategy":"static","period_ms":50,
		"f":[{"n":"b","c":1,"u":0,"l":0},{"n":"a","c":2,"u":0,"l":0}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if got.HTTP != "192.0.2.1:80" || got.Offers[0].Name.String() != "a" || got.Offers[1].Name.String() != "b" {
		t.Errorf("not canonical: %+v", got)
	}
}

// field is a change of one field of a valid announcement, before encoding.
type field struct {
	name   string
	change func(*Announcement)
	reason string // part of the error; "": accepted
}

func offer(o strategy.Offer) func(*Announcement) {
	return func(a *Announcement) { a.Offers = []strategy.Offer{o} }
}

func TestBounds(t *testing.T) {
	testvalue.SkipPrevious(t, "it reads JSON only")
	label63 := strings.Repeat("a", 63)
	tests := []field{
		{"epoch 0", func(a *Announcement) { a.Epoch = 0 }, "epoch"},
		{"negative epoch", func(a *Announcement) { a.Epoch = -1 }, "epoch"},
		{"largest epoch", func(a *Announcement) { a.Epoch = math.MaxInt64 }, ""},
		{"sequence 0", func(a *Announcement) { a.Seq = 0 }, "sequence"},
		{"shortest period", func(a *Announcement) { a.PeriodMillis = 50 }, ""},
		{"too short a period", func(a *Announcement) { a.PeriodMillis = 49 }, "period"},
		{"longest period", func(a *Announcement) { a.PeriodMillis = 600_000 }, ""},
		{"too long a period", func(a *Announcement) { a.PeriodMillis = 600_001 }, "period"},
		{"no strategy", func(a *Announcement) { a.Strategy = "" }, "strategy"},
		{"long strategy", func(a *Announcement) { a.Strategy = strings.Repeat("s", 33) }, "strategy"},
		{"strategy with a newline", func(a *Announcement) { a.Strategy = "head\nroom" }, "strategy"},
		{"leaving", func(a *Announcement) { a.Leaving = true }, ""},
		{"no offers", func(a *Announcement) { a.Offers = nil }, ""},
		{"IPv6", func(a *Announcement) { a.HTTP = "[2001:db8::1]:8081" }, ""},
		{"loopback", func(a *Announcement) { a.HTTP = "127.0.0.1:1" }, ""},
		{"host name", func(a *Announcement) { a.HTTP = "node:8081" }, "IP:PORT"},
		{"no port", func(a *Announcement) { a.HTTP = "192.0.2.1" }, "IP:PORT"},
		{"port 0", func(a *Announcement) { a.HTTP = "192.0.2.1:0" }, "connect"},
		{"large port", func(a *Announcement) { a.HTTP = "192.0.2.1:65536" }, "IP:PORT"},
		{"unspecified", func(a *Announcement) { a.HTTP = "0.0.0.0:80" }, "connect"},
		{"unspecified IPv6", func(a *Announcement) { a.HTTP = "[::]:80" }, "connect"},
		{"mapped unspecified", func(a *Announcement) { a.HTTP = "[::ffff:0.0.0.0]:80" }, "connect"},
		{"multicast", func(a *Announcement) { a.HTTP = "224.0.0.1:80" }, "connect"},
		{"multicast IPv6", func(a *Announcement) { a.HTTP = "[ff02::1]:80" }, "connect"},
		{"broadcast", func(a *Announcement) { a.HTTP = "255.255.255.255:80" }, "connect"},
		{"zone", func(a *Announcement) { a.HTTP = "[fe80::1%eth0]:80" }, "connect"},
		{"injection", func(a *Announcement) { a.HTTP = "192.0.2.1:80 ; shutdown" }, "IP:PORT"},
		{"longest labels", offer(strategy.Offer{Name: testvalue.Name(label63 + "." + label63)}), ""},
		{"no name", offer(strategy.Offer{}), "function name"},
		{"a demand", offer(strategy.Offer{Name: testvalue.Name("a"), Demand: testvalue.Rate(0.001)}), ""},
		{"dashes inside", offer(strategy.Offer{Name: testvalue.Name("a--b")}), ""},
		{"digits", offer(strategy.Offer{Name: testvalue.Name("0")}), ""},
		{"highest rate", offer(strategy.Offer{Name: testvalue.Name("a"), Capacity: testvalue.Rate(1e6), UserRate: testvalue.Rate(1e6), Limit: testvalue.Rate(1e6)}), ""},
		{"longest time limit", offer(strategy.Offer{Name: testvalue.Name("a"), TimeoutMillis: 3_600_000}), ""},
		{"time limit too long", offer(strategy.Offer{Name: testvalue.Name("a"), TimeoutMillis: 3_600_001}), "time limit"},
		{"time limit of ages", offer(strategy.Offer{Name: testvalue.Name("a"), TimeoutMillis: math.MaxInt64}), "time limit"},
		{"negative time limit", offer(strategy.Offer{Name: testvalue.Name("a"), TimeoutMillis: -1}), "time limit"},
		{"twice", func(a *Announcement) { a.Offers = append(a.Offers, strategy.Offer{Name: testvalue.Name("cat")}) }, "twice"},
		{"most functions", func(a *Announcement) { a.Offers = manyOffers(MaxOffers) }, ""},
		{"too many functions", func(a *Announcement) { a.Offers = manyOffers(MaxOffers + 1) }, "at most"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := valid()
			test.change(&a)
			if len(a.Offers) <= maxFirstOffers { // more are left out rather than refused
				_, err := Decode(first(t, a))
				checkReason(t, err, test.reason)
				_, _, err = Encode(a)
				checkReason(t, err, test.reason)
				_, _, err = Split(a)
				checkReason(t, err, test.reason)
			}
			_, err := Decode(compact(a))
			checkReason(t, err, test.reason)
		})
	}
}

// TestNames reads what is no name of a function, in either form.
func TestNames(t *testing.T) {
	testvalue.SkipPrevious(t, "it reads JSON only")
	a := valid()
	a.Offers = nil
	for why, name := range map[string]string{
		"one label too long": strings.Repeat("a", 63) + "a",
		"leading dash":       "-a",
		"trailing dash":      "a-",
		"empty namespace":    "a.",
		"three labels":       "a.b.c",
		"space":              "a b",
		"not ASCII":          "é",
		"no name":            "",
		"longer than any":    strings.Repeat("a", 1000),
	} {
		t.Run(why, func(t *testing.T) {
			inFirst := strings.Replace(string(first(t, a)), `"f":null`, `"f":[{"n":`+strconv.Quote(name)+`,"c":1,"u":1,"l":1}]`, 1)
			_, err := Decode([]byte(inFirst))
			checkReason(t, err, "function name")
			offer := appendText(nil, offerRest, name)
			_, err = Decode(protowire.AppendBytes(protowire.AppendTag(a.appendHead(nil, 0, 1), fieldOffer, protowire.BytesType), offer))
			checkReason(t, err, "name")
		})
	}
}

// TestRates reads what is no rate, in either form.
func TestRates(t *testing.T) {
	testvalue.SkipPrevious(t, "it reads JSON only")
	a := valid()
	a.Offers = nil
	head := a.appendHead(nil, 0, 1)
	for _, key := range []string{"c", "u", "l", "d"} {
		for text, reason := range map[string]string{
			"0": "", "-0": "", "1e6": "", "-1": "rate", "-0.1": "rate", "1000001": "rate", "1e300": "rate",
		} {
			_, err := Decode([]byte(strings.Replace(string(first(t, a)), `"f":null`, `"f":[{"n":"a",`+strconv.Quote(key)+`:`+text+`}]`, 1)))
			checkReason(t, err, reason)
		}
	}
	for _, field := range []protowire.Number{offerCapacity, offerUserRate, offerLimit, offerDemand} {
		for number, reason := range map[uint64]string{1: "", 1_000_000_000: "", 1_000_000_001: "rate", math.MaxUint64: "rate"} {
			offer := appendInt(appendText(nil, offerRest, "a"), field, number)
			_, err := Decode(protowire.AppendBytes(protowire.AppendTag(head, fieldOffer, protowire.BytesType), offer))
			checkReason(t, err, reason)
		}
	}
}

// first writes an announcement as version 1 does, whatever is in it.
func first(t *testing.T, a Announcement) []byte {
	f := firstForm{
		V: 1, Epoch: a.Epoch, Seq: a.Seq, HTTP: a.HTTP, Strategy: a.Strategy, PeriodMillis: a.PeriodMillis, Leaving: a.Leaving,
	}
	for _, o := range a.Offers {
		f.Offers = append(f.Offers, firstOffer{
			Name: o.Name.String(), Capacity: o.Capacity.PerSecond(), UserRate: o.UserRate.PerSecond(), Limit: o.Limit.PerSecond(), Demand: o.Demand.PerSecond(), TimeoutMillis: o.TimeoutMillis,
		})
	}
	data, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// compact writes an announcement as version 2 does, whatever is in it.
func compact(a Announcement) []byte {
	return append(a.appendHead(nil, 0, 1), appendOffers(a.Offers, 1<<30)[0]...)
}

func checkReason(t *testing.T, err error, reason string) {
	t.Helper()
	switch {
	case reason == "" && err != nil:
		t.Errorf("refused: %v", err)
	case reason != "" && err == nil:
		t.Error("accepted")
	case reason != "" && !strings.Contains(err.Error(), reason):
		t.Errorf("error %q does not say %q", err, reason)
	}
}

func TestDecodeRefusesOtherDocuments(t *testing.T) {
	good, _, err := Encode(valid())
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		"nothing":           "",
		"null":              "null",
		"array":             "[]",
		"text":              `"announcement"`,
		"half":              string(good[:len(good)/2]),
		"two":               string(good) + string(good),
		"field twice":       strings.Replace(string(good), `"v":1`, `"v":1,"tls":true,"tls":false`, 1),
		"field in capitals": strings.Replace(string(good), `"v":1`, `"V":1`, 1),
		"name of version 2": strings.Replace(string(good), `"n":"cat"`, `"n":"Cat"`, 1),
		"number overflow":   strings.Replace(string(good), `"c":10`, `"c":1e999`, 1),
		"not a number":      strings.Replace(string(good), `"c":10`, `"c":NaN`, 1),
		"number as text":    strings.Replace(string(good), `"c":10`, `"c":"10"`, 1),
		"negative sequence": strings.Replace(string(good), `"seq":1`, `"seq":-1`, 1),
		"deep":              strings.Repeat("[", MaxAnnouncement),
		"too long":          string(good) + strings.Repeat(" ", MaxAnnouncement),
	} {
		if a, err := Decode([]byte(data)); err == nil {
			t.Errorf("%s: accepted as %+v", name, a)
		}
	}
}

func TestNewerVersions(t *testing.T) {
	testvalue.SkipPrevious(t, "it reads JSON only")
	for data, want := range map[string]bool{
		`{"v":2,"offers":{}}`:          true, // unknown fields are what a new version is for
		`{"v":1,"offers":{}}`:          false,
		`{"offers":{}}`:                false,
		`{"v":"2"}`:                    false,
		"\x08\x03\x10\x03\xffanything": true, // version 3 that needs 3
		"\x08\x03\x10\x04":             false,
		"\x08\x03\x10\x00":             false,
		"\x08\x01\x10\x01":             false, // version 1 is JSON
		"\x10\x03\x08\x03":             false,
		"\x08\x03":                     false,
	} {
		if _, err := Decode([]byte(data)); errors.Is(err, ErrNewer) != want || err == nil {
			t.Errorf("%q: %v", data, err)
		}
	}
}

// newer is a message of version 3 that version 2 understands, with all that a
// later version may add.
func newer(a Announcement, more ...[]byte) []byte {
	data := a.appendHead(nil, 0, 1)
	data[1] = 3
	data = appendInt(data, 16, 7)
	data = appendText(data, 200, "something")
	data = protowire.AppendFixed64(protowire.AppendTag(data, 14, protowire.Fixed64Type), 1)
	for _, offer := range more {
		data = protowire.AppendBytes(protowire.AppendTag(data, fieldOffer, protowire.BytesType), offer)
	}
	return data
}

func TestWhatNewerMembersSayIsIgnored(t *testing.T) {
	testvalue.SkipPrevious(t, "it refuses what it does not know")
	named := func(name string, capacity uint64) []byte {
		return appendInt(appendText(appendInt(nil, offerShared, 0), offerRest, name), offerCapacity, capacity)
	}
	a := valid()
	got, err := Decode(newer(a, named("A", 1000), appendText(named("b", 2000), 99, "x"), named("c:d", 1000), named("d", 1e10), named("e", 3000)))
	if err != nil {
		t.Fatal(err)
	}
	a.V, a.Unknown = 3, 6 // three fields, one of an offer, a name and a rate out of bounds
	a.Offers = []strategy.Offer{{Name: testvalue.Name("A"), Capacity: testvalue.Rate(1)}, {Name: testvalue.Name("b"), Capacity: testvalue.Rate(2)}, {Name: testvalue.Name("e"), Capacity: testvalue.Rate(3)}}
	if diff := cmp.Diff(a, got, testvalue.Comparable()); diff != "" {
		t.Error(diff)
	}
	for name, data := range map[string][]byte{
		"twice":            newer(a, named("a", 1), named("a", 1)),
		"not in order":     newer(a, named("b", 1), named("a", 1)),
		"shares too much":  newer(a, appendInt(nil, offerShared, 1)),
		"endless name":     newer(a, named(strings.Repeat("x", 300), 1)),
		"another type":     newer(a, appendInt(nil, offerRest, 1)),
		"field twice":      append(newer(a), 0x18, 1),
		"cut short":        newer(a, named("a", 1))[:60],
		"bad address":      newer(func() Announcement { a := a; a.HTTP = "0.0.0.0:1"; return a }()),
		"text for number":  appendText(newer(Announcement{Seq: 1}), fieldEpoch, "x"),
		"part of nothing":  appendInt(newer(a), fieldPart, 1),
		"too many parts":   appendInt(newer(a), fieldParts, MaxParts+1),
		"not Proto at all": append(newer(a), 0xff),
	} {
		if a, err := Decode(data); err == nil || errors.Is(err, ErrNewer) {
			t.Errorf("%s: %v, %+v", name, err, a)
		}
	}
	notNewer := newer(a, named("c:d", 1))
	notNewer[1] = Version
	if _, err := Decode(notNewer); err == nil {
		t.Error("a name out of bounds is accepted from a member of this version")
	}
}

// TestMostFunctions: 4,096 functions fit, whatever they are called.
func TestMostFunctions(t *testing.T) {
	testvalue.SkipPrevious(t, "it knows lower-case names only")
	random := rand.New(rand.NewPCG(3, 4))
	for what, name := range map[string]func(int) string{
		"numbered":          func(i int) string { return fmt.Sprintf("f%05d", i) },
		"typical":           func(i int) string { return fmt.Sprintf("team-%d-image-resize-v%d", i%40, i/40) },
		"longest, numbered": func(i int) string { return fmt.Sprintf("f%062d.%s", i, strings.Repeat("n", 63)) },
		"longest, random": func(i int) string {
			text := make([]byte, 127)
			for j := range text {
				text[j] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"[random.IntN(63)]
			}
			text[63] = '.'
			return string(text)
		},
	} {
		a, size := valid(), 0
		a.Offers = nil
		for i := range MaxOffers {
			a.Offers = append(a.Offers, strategy.Offer{
				Name: testvalue.Name(name(i)), Capacity: testvalue.Rate(100), UserRate: testvalue.Rate(float64(random.IntN(200_000)) / 1000), Limit: testvalue.Rate(float64(random.IntN(200_000)) / 1000),
				TimeoutMillis: 30_000,
			})
		}
		messages, left, err := Split(a)
		if err != nil || left != nil {
			t.Fatalf("%s: left %d, %v", what, len(left), err)
		}
		var got []strategy.Offer
		for part, data := range messages {
			m, err := Decode(data)
			if err != nil || m.Part != part || m.Parts != len(messages) {
				t.Fatalf("%s: part %d of %d, %v", what, m.Part, m.Parts, err)
			}
			size += len(data)
			got = append(got, m.Offers...)
		}
		slices.SortFunc(a.Offers, func(a, b strategy.Offer) int { return strings.Compare(a.Name.String(), b.Name.String()) })
		if diff := cmp.Diff(a.Offers, got, testvalue.Comparable()); diff != "" {
			t.Fatalf("%s: %s", what, diff)
		}
		data, without, err := Encode(a)
		dropped := len(without)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d messages, %.1f bytes a function; as version 1: %.1f bytes, %d of %d left out", what, len(messages),
			float64(size)/MaxOffers, float64(len(data))/float64(MaxOffers-dropped), dropped, MaxOffers)
	}
}

func TestSplitTellsWhatIsLeft(t *testing.T) {
	a := valid()
	a.Offers = manyOffers(MaxOffers + 3)
	a.Offers[0].UserRate = testvalue.Rate(1)
	_, left, err := Split(a)
	if err != nil || !slices.Equal(left, []string{"f04096", "f04097", "f04098"}) && !slices.Equal(left, []string{"f04097", "f04098", "f04096"}) {
		t.Errorf("left %v, %v", left, err)
	}
}

func manyOffers(n int) []strategy.Offer {
	offers := make([]strategy.Offer, n)
	for i := range offers {
		offers[i] = strategy.Offer{Name: testvalue.Name(fmt.Sprintf("f%05d", i)), Capacity: testvalue.Rate(1)}
	}
	return offers
}

// Whatever the offers, the encoded announcement fits, can be decoded, and no
// offer left out is in more demand than one that was kept.
func TestEncodeKeepsTheMostDemanded(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 60 {
		a := valid()
		a.Offers = nil
		longest := []int{4, 40, 57}[round%3]
		for i := range random.IntN(2000) {
			name := fmt.Sprintf("f%05d%s", i, strings.Repeat("x", random.IntN(longest)))
			a.Offers = append(a.Offers, strategy.Offer{
				Name: testvalue.Name(name), Capacity: testvalue.Rate(1e6 * random.Float64()), UserRate: testvalue.Rate(float64(random.IntN(50))), Limit: testvalue.Rate(random.Float64()),
			})
		}
		before := slices.Clone(a.Offers)
		data, without, err := Encode(a)
		dropped := len(without)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(before, a.Offers) {
			t.Fatal("Encode changed its argument")
		}
		got, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Offers)+dropped != len(a.Offers) {
			t.Fatalf("%d kept and %d dropped of %d", len(got.Offers), dropped, len(a.Offers))
		}
		if dropped > 0 && len(got.Offers) < maxFirstOffers && len(data) < MaxAnnouncement-256 {
			t.Fatalf("dropped %d although only %d bytes are used", dropped, len(data))
		}
		checkMostDemanded(t, a.Offers, got.Offers)
	}
}

func checkMostDemanded(t *testing.T, all, kept []strategy.Offer) {
	t.Helper()
	least := testvalue.Rate(limit.MaxRate)
	isKept := make(map[string]bool)
	for _, o := range kept {
		if o.UserRate.Compare(least) < 0 {
			least = o.UserRate
		}
		isKept[o.Name.String()] = true
	}
	for _, o := range all {
		if !isKept[o.Name.String()] && o.UserRate.Compare(least) > 0 {
			t.Fatalf("%s with %v requests/s was left out, one with %v kept", o.Name, o.UserRate, least)
		}
	}
}

func FuzzDecode(f *testing.F) {
	testvalue.SkipPrevious(f, "it knows lower-case names only")
	good, _, err := Encode(valid())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"v":1,"epoch":1,"seq":1,"http":"[::1]:1","strategy":"a","period_ms":50,"f":null}`))
	f.Add([]byte(`{"v":2}`))
	f.Add([]byte(`{"f":[{},{}],"F":[{"n":"a"}]}`))
	a := valid()
	a.Offers = []strategy.Offer{{Name: testvalue.Name("MyFunc"), Capacity: testvalue.Rate(3)}, {Name: testvalue.Name("MyFunction"), Demand: testvalue.Rate(1), TimeoutMillis: 5}, {Name: testvalue.Name("my_func"), Absent: true}}
	messages, _, err := Split(a)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(messages[0])
	f.Add(newer(a, appendText(nil, offerRest, "a"), appendText(nil, offerRest, "b:c")))
	f.Add([]byte("\x08\x03\x10\x03"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := Decode(data)
		if err != nil {
			return
		}
		checkWritten(t, a)
		again, without, err := Encode(a)
		if err != nil {
			t.Fatalf("accepted but cannot be encoded: %v", err)
		}
		b, err := Decode(again)
		if err != nil {
			t.Fatalf("encoded but cannot be decoded: %v", err)
		}
		if without == nil { // numbers may be written longer than they were read
			a.V, a.Needs, a.Part, a.Parts, a.Unknown = b.V, b.Needs, b.Part, b.Parts, b.Unknown
			if diff := cmp.Diff(a, b, cmpopts.EquateEmpty(), testvalue.Comparable()); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}

// checkWritten asserts that an announcement that was accepted can be written in
// this version and read again, rates to a thousandth.
func checkWritten(t *testing.T, a Announcement) {
	t.Helper()
	messages, left, err := Split(a)
	if err != nil || left != nil {
		t.Fatalf("accepted but cannot be split: left %v, %v", left, err)
	}
	var offers []strategy.Offer
	for _, message := range messages {
		b, err := Decode(message)
		if err != nil || b.Unknown != 0 {
			t.Fatalf("split but cannot be decoded: %d unknown, %v", b.Unknown, err)
		}
		offers = append(offers, b.Offers...)
	}
	if diff := cmp.Diff(a.Offers, offers, cmpopts.EquateEmpty(), cmpopts.EquateApprox(0, 0.00051), testvalue.Comparable()); diff != "" {
		t.Fatal(diff)
	}
}

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"edge": true, "edge-1": true, "": false, "Edge": false, "a/b": false, "a.b": false, "-a": false,
		strings.Repeat("a", 64): false,
	} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}
