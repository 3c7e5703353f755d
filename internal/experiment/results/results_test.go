package results

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

var begin = time.Date(2026, 1, 2, 3, 4, 5, 600_000_000, time.UTC)

// attack are 50 results a second, of which every fifth is refused, in the order of the
// answers: the first came last.
func attack(seconds int) []vegeta.Result {
	var all []vegeta.Result
	for i := range 50 * seconds {
		r := vegeta.Result{
			Seq: uint64(i), Code: 200, Timestamp: begin.Add(time.Duration(i) * 20 * time.Millisecond), Latency: time.Duration(1+i%10) * time.Millisecond,
			Method: "POST", URL: "http://127.0.0.1:8081/function/a,b", Body: []byte("line\n\"quoted\""), Headers: http.Header{NodeHeader: {"node-1"}, "X-Server": {"a:1"}},
		}
		switch {
		case i%5 == 0:
			r.Code, r.Error, r.Headers = 429, "429 Too \"Many\"\nRequests", nil
		case i%5 == 1:
			r.Headers = http.Header{NodeHeader: {"node-2"}}
		case i%5 == 2:
			r.Headers = nil
		}
		all = append(all, r)
	}
	return append(all[1:], all[0])
}

var encoders = map[string]func(io.Writer) vegeta.Encoder{
	"JSON": vegeta.NewJSONEncoder, "CSV": vegeta.NewCSVEncoder, "gob": vegeta.NewEncoder,
}

func encoded(encoder func(io.Writer) vegeta.Encoder, all []vegeta.Result) []byte {
	var b bytes.Buffer
	encode := encoder(&b)
	for _, r := range all {
		if err := encode(&r); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

func read(data []byte) (*Course, error) {
	return Read(context.Background(), "x", bytes.NewReader(data), func(int64) {})
}

// counted is what was counted of a name.
func counted(names []string, of func(int) uint64, name string) uint64 {
	return of(slices.Index(names, name))
}

// TestRead: in each of vegeta's encodings, results are counted by the second in which
// they were sent.
func TestRead(t *testing.T) {
	for name, encoder := range encoders {
		data := encoded(encoder, attack(4))
		if name == "JSON" {
			data = bytes.TrimSuffix(data, []byte("\n")) // as an editor may leave it
		}
		c, err := read(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !c.Start.Equal(begin) || c.Width != time.Second || c.Offset != 0 || len(c.Bins) != 4 || c.Total.Sent != 200 || c.Total.Served != 160 {
			t.Errorf("%s: from %s, bins of %s, %d of them, %d sent, %d served", name, c.Start, c.Width, len(c.Bins), c.Total.Sent, c.Total.Served)
		}
		for i := range c.Bins {
			b := &c.Bins[i]
			if b.Sent != 50 || b.Served != 40 || counted(c.Statuses, b.Of, "429") != 10 || counted(c.Nodes, b.By, "node-1") != 20 ||
				counted(c.Nodes, b.By, "node-2") != 10 || counted(c.Nodes, b.By, Unknown) != 10 || b.Latency.Count() != 40 {
				t.Errorf("%s: second %d: %+v, %v, %v", name, i, b, c.Statuses, c.Nodes)
			}
		}
		if p50 := c.Total.Latency.Quantile(0.5); p50 < 4.8 || p50 > 6.2 {
			t.Errorf("%s: median %v ms", name, p50)
		}
		if c.Rate() < 49.9 || c.Rate() > 50.1 {
			t.Errorf("%s: %v/s", name, c.Rate())
		}
	}
}

// TestRefused: what is not whole, or not vegeta's, is refused with its place.
func TestRefused(t *testing.T) {
	all := attack(1)
	json, csv, gob := encoded(vegeta.NewJSONEncoder, all), encoded(vegeta.NewCSVEncoder, all), encoded(vegeta.NewEncoder, all)
	third := func(change func(*vegeta.Result)) []byte {
		changed := slices.Clone(all)
		change(&changed[2])
		return encoded(vegeta.NewJSONEncoder, changed)
	}
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":           {nil, "x: it is empty"},
		"JSON, cut off":     {json[:len(json)-9], "x: record 50 (JSON): "},
		"JSON, cut at a ,":  {json[:bytes.LastIndexByte(json, ',')], "x: record 50 (JSON): the record is cut off"},
		"CSV, cut off":      {csv[:bytes.LastIndexByte(csv, ',')], "x: record 50 (CSV): vegeta writes 12 columns"},
		"gob, cut off":      {gob[:len(gob)-9], "x: record 50 (gob): the record is cut off"},
		"a summary":         {[]byte("{\n \"scenario\": \"x\"\n}\n"), "x: record 1 (JSON): "},
		"JSON of another":   {[]byte("{\"a\": 1}\n"), "it has no timestamp"},
		"an empty line":     {append(slices.Clone(json), '\n'), "x: record 51 (JSON): the record is cut off"},
		"text":              {[]byte("hello, this is text\n"), "x: record 1 (gob): not as vegeta writes results"},
		"a trace":           {[]byte("0,5\n1,6\n"), "x: record 1 (CSV): vegeta writes 12 columns"},
		"a time in CSV":     {[]byte("1" + string(csv)), "x: record 1 (CSV): not as vegeta writes results"},
		"a time far off":    {third(func(r *vegeta.Result) { r.Timestamp = begin.AddDate(2, 0, 0) }), "x: record 3 (JSON): it was sent at 2028-01-02"},
		"a latency below 0": {third(func(r *vegeta.Result) { r.Latency = -1 }), "x: record 3 (JSON): its latency is -1ns"},
		"a long record":     {third(func(r *vegeta.Result) { r.Error = strings.Repeat("x", MaxRecord+1<<20) }), "x: record 3 (JSON): it has more than 67108864 bytes"},
	} {
		if c, err := read(test.data); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, %v, want %q", name, c != nil, err, test.want)
		}
	}
	if _, err := ReadFile(t.Context(), t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Error(err)
	}
	if _, err := ReadFile(t.Context(), "missing.json", nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestLong: a long attack has as many bins as a short one, and as many requests as it
// had; one that was sent before the first that came is not lost.
func TestLong(t *testing.T) {
	c := &Course{}
	const lasting = 100_000
	var samples []sample
	for i := range lasting {
		samples = append(samples, sample{at: begin.Add(time.Duration(i) * time.Second), status: 200, node: fmt.Sprint("n", i%300), latency: time.Millisecond})
	}
	c.add(samples[1000:])
	c.add(samples[:1000])
	c.close()
	sent := uint64(0)
	for i := range c.Bins {
		sent += c.Bins[i].Sent
	}
	if sent != lasting || c.Total.Sent != lasting || len(c.Bins) > MaxBins || len(c.Bins) < MaxBins/2 || c.Width != 64*time.Second {
		t.Errorf("%d sent in %d bins of %s", sent, len(c.Bins), c.Width)
	}
	if !c.Start.Equal(begin) || c.Offset > 0 || c.Offset <= -c.Width {
		t.Errorf("from %s, the first bin begins %s after that", c.Start, c.Offset)
	}
	if len(c.Nodes) != maxNames || counted(c.Nodes, c.Total.By, Others) == 0 {
		t.Errorf("%d nodes, of which %d are %s", len(c.Nodes), counted(c.Nodes, c.Total.By, Others), Others)
	}
}

// TestEnds: it ends with its context, and says how far it is.
func TestEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.bin")
	if err := os.WriteFile(path, encoded(vegeta.NewEncoder, attack(100)), 0o600); err != nil {
		t.Fatal(err)
	}
	most := 0.0
	if _, err := ReadFile(t.Context(), path, func(done float64) { most = max(most, done) }); err != nil || most < 0.7 {
		t.Errorf("progress to %v, %v", most, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ReadFile(ctx, path, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func FuzzRead(f *testing.F) {
	for _, encoder := range encoders {
		f.Add(encoded(encoder, attack(1)[:5]))
	}
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := read(data)
		if err != nil {
			return
		}
		sent := uint64(0)
		for i := range c.Bins {
			sent += c.Bins[i].Sent
		}
		if sent != c.Total.Sent || sent == 0 || len(c.Bins) > MaxBins || len(c.Statuses) > maxNames || len(c.Nodes) > maxNames {
			t.Errorf("%d sent, %d in %d bins, %d statuses, %d nodes", c.Total.Sent, sent, len(c.Bins), len(c.Statuses), len(c.Nodes))
		}
	})
}
