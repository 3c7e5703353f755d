package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// d972c02 is the announcement as the release of that commit reads it. It stays as
// it is.
type d972c02 struct {
	V            int    `json:"v"`
	Epoch        int64  `json:"epoch"`
	Seq          uint64 `json:"seq"`
	SentAtMillis int64  `json:"t"`
	HTTP         string `json:"http"`
	TLS          bool   `json:"tls,omitempty"`
	Strategy     string `json:"strategy"`
	PeriodMillis int64  `json:"period_ms"`
	Leaving      bool   `json:"leaving,omitempty"`
	Offers       []struct {
		Name          string  `json:"n"`
		Absent        bool    `json:"a,omitempty"`
		Capacity      float64 `json:"c"`
		UserRate      float64 `json:"u"`
		Limit         float64 `json:"l"`
		Demand        float64 `json:"d,omitempty"`
		TimeoutMillis int64   `json:"t,omitempty"`
	} `json:"f"`
}

// readByD972c02 is that release's decoder: who sends what it refuses is scored
// down, and not heard any more after four of them.
func readByD972c02(data []byte) (a d972c02, err error) {
	if len(data) > 64<<10 {
		return a, fmt.Errorf("%d bytes", len(data))
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return a, err
	}
	if d.More() || a.V != 1 || a.Epoch <= 0 || a.Seq == 0 || a.PeriodMillis < 50 || a.PeriodMillis > 600_000 ||
		a.Strategy == "" || len(a.Offers) > 1000 {
		return a, fmt.Errorf("out of bounds: %+v", a)
	}
	isLabel := func(s string) bool {
		return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
	}
	for i, o := range a.Offers {
		name, namespace, dotted := strings.Cut(o.Name, ".")
		if !isLabel(name) || dotted && !isLabel(namespace) {
			return a, fmt.Errorf("function name %q", o.Name)
		}
		if i > 0 && o.Name <= a.Offers[i-1].Name {
			return a, fmt.Errorf("function %q twice", o.Name)
		}
		for _, rate := range []float64{o.Capacity, o.UserRate, o.Limit, o.Demand} {
			if !(rate >= 0 && rate <= 1e6) || math.IsNaN(rate) {
				return a, fmt.Errorf("rate %v", rate)
			}
		}
		if o.TimeoutMillis < 0 || o.TimeoutMillis > 3_600_000 {
			return a, fmt.Errorf("time limit %d", o.TimeoutMillis)
		}
	}
	return a, nil
}

// TestReleasedAnnouncements reads what released members have sent, and writes the
// same again for them.
func TestReleasedAnnouncements(t *testing.T) {
	files, err := filepath.Glob("testdata/d972c02/*.json")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		a, err := Decode(data)
		if err != nil || a.Unknown != 0 || a.V != 1 {
			t.Errorf("%s: %+v, %v", file, a, err)
			continue
		}
		again, left, err := Encode(a)
		if err != nil || left != nil {
			t.Fatalf("%s: left %v, %v", file, left, err)
		}
		var sent, back d972c02
		if sent, err = readByD972c02(data); err != nil {
			t.Fatal(err)
		}
		if back, err = readByD972c02(again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(sent, back, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s is written differently (-want +got):\n%s", file, diff)
		}
	}
}

// TestReleasedMessages reads what members of version 2 have sent.
func TestReleasedMessages(t *testing.T) {
	testvalue.SkipPrevious(t, "it knows lower-case names only")
	a := valid()
	a.TLS, a.SentAtMillis = true, 1_700_000_001_000
	a.Offers = []strategy.Offer{
		{Name: testvalue.Name("MyFunc"), Capacity: testvalue.Rate(10), UserRate: testvalue.Rate(2.5), Limit: testvalue.Rate(1.125), TimeoutMillis: 300_000}, {Name: testvalue.Name("MyFunction"), Absent: true, UserRate: testvalue.Rate(12.345)},
		{Name: testvalue.Name("my_func.vision"), Capacity: testvalue.Rate(1_000_000), UserRate: testvalue.Rate(0.001), Demand: testvalue.Rate(17)},
	}
	messages, _, err := Split(a)
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/version2/full.bin"
	if os.Getenv("WRITE_RELEASED") != "" {
		if err := os.WriteFile(file, messages[0], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	released, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(released)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, got, testvalue.Comparable()); diff != "" {
		t.Error(diff)
	}
	if !bytes.Equal(released, messages[0]) {
		t.Errorf("written differently:\n%q, released\n%q", messages[0], released)
	}
}

// TestWrittenForReleased: whatever a node of today has to say, what it says for
// members of the first release is understood by them.
func TestWrittenForReleased(t *testing.T) {
	testvalue.SkipPrevious(t, "it knows lower-case names only")
	random := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		a := valid()
		a.TLS, a.Leaving, a.SentAtMillis, a.Offers = random.IntN(2) == 0, random.IntN(2) == 0, random.Int64(), nil
		nameable := 0
		for i := range random.IntN(900) {
			name := fmt.Sprintf([]string{"f%d", "My%d", "my_%d", "f%d.Name", "f-%d.ns"}[random.IntN(5)], i)
			if name == strings.ToLower(name) && !strings.Contains(name, "_") {
				nameable++
			}
			a.Offers = append(a.Offers, strategy.Offer{
				Name: testvalue.Name(name), Absent: random.IntN(2) == 0, Capacity: testvalue.Rate(1e6 * random.Float64()), UserRate: testvalue.Rate(random.Float64()), Limit: testvalue.Rate(1e6),
				Demand: testvalue.Rate(float64(random.IntN(2))), TimeoutMillis: random.Int64N(3_600_001),
			})
		}
		data, left, err := Encode(a)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readByD972c02(data)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Offers)+len(left) != len(a.Offers) || len(got.Offers) > nameable || len(got.Offers) < min(nameable, 400) {
			t.Errorf("%d functions understood, %d left out of %d", len(got.Offers), len(left), len(a.Offers))
		}
	}
}

// TestReleasedFeeds reads the first feed that there was, and writes the same again.
func TestReleasedFeeds(t *testing.T) {
	testvalue.SkipPrevious(t, "it knows lower-case names only")
	first := fit(t, func() Announcement {
		a := valid()
		a.SentAtMillis, a.Name, a.Async = 1_700_000_001_000, "edge-1", true
		a.Offers = []strategy.Offer{{Name: testvalue.Name("cat"), Capacity: testvalue.Rate(10)}, {Name: testvalue.Name("MyFunc"), Capacity: testvalue.Rate(1_000_000), Demand: testvalue.Rate(17)}, {Name: testvalue.Name("ocr.vision"), Absent: true}}
		return a
	}())
	said := []Announcement{first}
	add := func(change func(*Announcement)) {
		a := said[len(said)-1]
		a.Seq, a.SentAtMillis, a.Offers = a.Seq+1, a.SentAtMillis+5_400, slices.Clone(a.Offers)
		change(&a)
		said = append(said, a)
	}
	add(func(*Announcement) {})
	add(func(a *Announcement) {
		a.Offers[1].UserRate, a.Offers[2].TimeoutMillis = testvalue.Rate(12.345), 300_000
	})
	add(func(a *Announcement) {
		a.Seq, a.SentAtMillis, a.PeriodMillis, a.Offers[2].Absent, a.Offers[2].Backup = a.Seq+300, 1_700_000_000_000, 6000, false, true
		a.Offers[0].Capacity, a.Offers[0].Limit, a.Offers[0].Demand = testvalue.Rate(0), testvalue.Rate(0.001), testvalue.Rate(1e6)
	})
	add(func(a *Announcement) { a.Offers = a.Offers[:2] })
	add(func(a *Announcement) { a.Leaving, a.Offers = true, nil })

	var written []byte
	var before *Announcement
	for i := range said {
		var err error
		if written, err = AppendFeed(written, before, &said[i]); err != nil {
			t.Fatal(err)
		}
		before = &said[i]
	}
	const file = "testdata/feed1/feed.bin"
	if os.Getenv("WRITE_RELEASED") != "" {
		if err := os.WriteFile(file, written, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	released, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(released, written) {
		t.Errorf("written differently:\n%q, released\n%q", written, released)
	}
	var follower Follower
	r := bytes.NewReader(released)
	for i := range said {
		frame, err := ReadFrame(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, complete, err := follower.Take(frame)
		if err != nil || !complete {
			t.Fatal(complete, err)
		}
		if diff := cmp.Diff(said[i], got, cmpopts.EquateEmpty(), testvalue.Comparable()); diff != "" {
			t.Errorf("announcement %d: %s", i, diff)
		}
	}
	if r.Len() != 0 {
		t.Errorf("%d bytes are left", r.Len())
	}
}
