package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/controller/strategy"
)

func valid() Announcement {
	return Announcement{
		V: Version, Epoch: 1_700_000_000_000, Seq: 1, HTTP: "192.0.2.1:8081", Strategy: "headroom", PeriodMillis: 1000,
		Offers: []strategy.Offer{{Name: "cat", Capacity: 10}, {Name: "ocr.vision", UserRate: 2.5, Limit: 1, TimeoutMillis: 300_000}},
	}
}

func TestDecodeAcceptsWhatEncodeWrites(t *testing.T) {
	data, dropped, err := Encode(valid())
	if err != nil || dropped != 0 {
		t.Fatalf("Encode: dropped %d, %v", dropped, err)
	}
	got, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(valid(), got); diff != "" {
		t.Error(diff)
	}
}

func TestDecodePutsInCanonicalForm(t *testing.T) {
	got, err := Decode([]byte(`{"v":1,"epoch":1,"seq":1,"http":"[::ffff:192.0.2.1]:80","strategy":"static","period_ms":50,
		"f":[{"n":"b","c":1,"u":0,"l":0},{"n":"a","c":2,"u":0,"l":0}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if got.HTTP != "192.0.2.1:80" || got.Offers[0].Name != "a" || got.Offers[1].Name != "b" {
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
	label63 := strings.Repeat("a", 63)
	tests := []field{
		{"version 2", func(a *Announcement) { a.V = 2 }, "version 2"},
		{"version 0", func(a *Announcement) { a.V = 0 }, "version 0"},
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
		{"longest labels", offer(strategy.Offer{Name: label63 + "." + label63}), ""},
		{"one label too long", offer(strategy.Offer{Name: label63 + "a"}), "function name"},
		{"no name", offer(strategy.Offer{}), "function name"},
		{"a demand", offer(strategy.Offer{Name: "a", Demand: 0.001}), ""},
		{"a negative demand", offer(strategy.Offer{Name: "a", Demand: -1}), "rate"},
		{"too great a demand", offer(strategy.Offer{Name: "a", Demand: 2e6}), "rate"},
		{"leading dash", offer(strategy.Offer{Name: "-a"}), "function name"},
		{"trailing dash", offer(strategy.Offer{Name: "a-"}), "function name"},
		{"dashes inside", offer(strategy.Offer{Name: "a--b"}), ""},
		{"digits", offer(strategy.Offer{Name: "0"}), ""},
		{"empty namespace", offer(strategy.Offer{Name: "a."}), "function name"},
		{"three labels", offer(strategy.Offer{Name: "a.b.c"}), "function name"},
		{"space", offer(strategy.Offer{Name: "a b"}), "function name"},
		{"not ASCII", offer(strategy.Offer{Name: "é"}), "function name"},
		{"highest rate", offer(strategy.Offer{Name: "a", Capacity: 1e6, UserRate: 1e6, Limit: 1e6}), ""},
		{"capacity too high", offer(strategy.Offer{Name: "a", Capacity: 1e6 + 1}), "rate"},
		{"user rate too high", offer(strategy.Offer{Name: "a", UserRate: 1e300}), "rate"},
		{"negative limit", offer(strategy.Offer{Name: "a", Limit: -0.1}), "rate"},
		{"unlimited", offer(strategy.Offer{Name: "a", Capacity: -1}), "rate"},
		{"longest time limit", offer(strategy.Offer{Name: "a", TimeoutMillis: 3_600_000}), ""},
		{"time limit too long", offer(strategy.Offer{Name: "a", TimeoutMillis: 3_600_001}), "time limit"},
		{"time limit of ages", offer(strategy.Offer{Name: "a", TimeoutMillis: math.MaxInt64}), "time limit"},
		{"negative time limit", offer(strategy.Offer{Name: "a", TimeoutMillis: -1}), "time limit"},
		{"twice", func(a *Announcement) { a.Offers = append(a.Offers, strategy.Offer{Name: "cat"}) }, "twice"},
		{"most functions", func(a *Announcement) { a.Offers = manyOffers(MaxOffers) }, ""},
		{"too many functions", func(a *Announcement) { a.Offers = manyOffers(MaxOffers + 1) }, "at most"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := valid()
			test.change(&a)
			data, err := json.Marshal(a)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Decode(data)
			checkReason(t, err, test.reason)
			if len(a.Offers) <= MaxOffers { // more are dropped rather than refused
				_, _, err = Encode(a)
				checkReason(t, err, test.reason)
			}
		})
	}
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
		"unknown field":     strings.Replace(string(good), `"v":1`, `"v":1,"x":1`, 1),
		"unknown in offer":  strings.Replace(string(good), `"n":"cat"`, `"n":"cat","x":1`, 1),
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

func TestDecodeTellsOtherVersions(t *testing.T) {
	for data, want := range map[string]bool{
		`{"v":2,"offers":{}}`: true, // unknown fields are what a new version is for
		`{"v":1,"offers":{}}`: false,
		`{"offers":{}}`:       false,
		`{"v":"2"}`:           false,
	} {
		if _, err := Decode([]byte(data)); errors.Is(err, ErrVersion) != want {
			t.Errorf("%s: %v", data, err)
		}
	}
}

func manyOffers(n int) []strategy.Offer {
	offers := make([]strategy.Offer, n)
	for i := range offers {
		offers[i] = strategy.Offer{Name: fmt.Sprintf("f%05d", i), Capacity: 1}
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
				Name: name, Capacity: 1e6 * random.Float64(), UserRate: float64(random.IntN(50)), Limit: random.Float64(),
			})
		}
		before := slices.Clone(a.Offers)
		data, dropped, err := Encode(a)
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
		if dropped > 0 && len(got.Offers) < MaxOffers && len(data) < MaxAnnouncement-256 {
			t.Fatalf("dropped %d although only %d bytes are used", dropped, len(data))
		}
		checkMostDemanded(t, a.Offers, got.Offers)
	}
}

func checkMostDemanded(t *testing.T, all, kept []strategy.Offer) {
	t.Helper()
	least := math.Inf(1)
	isKept := make(map[string]bool)
	for _, o := range kept {
		least = min(least, o.UserRate)
		isKept[o.Name] = true
	}
	for _, o := range all {
		if !isKept[o.Name] && o.UserRate > least {
			t.Fatalf("%s with %v requests/s was left out, one with %v kept", o.Name, o.UserRate, least)
		}
	}
}

func FuzzDecode(f *testing.F) {
	good, _, err := Encode(valid())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"v":1,"epoch":1,"seq":1,"http":"[::1]:1","strategy":"a","period_ms":50,"f":null}`))
	f.Add([]byte(`{"v":2}`))
	f.Add([]byte(`{"f":[{},{}],"F":[{"n":"a"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := Decode(data)
		if err != nil {
			return
		}
		again, dropped, err := Encode(a)
		if err != nil {
			t.Fatalf("accepted but cannot be encoded: %v", err)
		}
		if dropped > 0 {
			return // numbers may be written longer than they were read
		}
		b, err := Decode(again)
		if err != nil {
			t.Fatalf("encoded but cannot be decoded: %v", err)
		}
		b.Offers = append([]strategy.Offer{}, b.Offers...)
		a.Offers = append([]strategy.Offer{}, a.Offers...)
		if diff := cmp.Diff(a, b); diff != "" {
			t.Fatal(diff)
		}
	})
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
