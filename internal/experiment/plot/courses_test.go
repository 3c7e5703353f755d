package plot

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/dfaas/dfaas/internal/experiment/results"
)

// course is one of 50 requests a second that begins so long after the beginning of time.
func course(t *testing.T, name string, after time.Duration, seconds, nodes int, refused func(second int) uint16) *results.Course {
	t.Helper()
	var b bytes.Buffer
	encode := vegeta.NewEncoder(&b)
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(after)
	for i := range 50 * seconds {
		r := vegeta.Result{
			Code: 200, Timestamp: begin.Add(time.Duration(i) * 20 * time.Millisecond), Latency: time.Duration(2+i%17+i/50*(i%3)) * time.Millisecond,
			Headers: http.Header{results.NodeHeader: {fmt.Sprintf("node-%d", 1+i%nodes)}},
		}
		if i%3 == 0 {
			if status := refused(i / 50); status != 200 {
				r.Code, r.Headers = status, nil
			}
		}
		if err := encode(&r); err != nil {
			t.Fatal(err)
		}
	}
	c, err := results.Read(t.Context(), name, &b, func(int64) {})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func examples(t *testing.T) Courses {
	return Courses{Rate: 60, Footer: "made by a test", Courses: []*results.Course{
		course(t, "out/recalc/load-1.json", 0, 30, 3, func(s int) uint16 { return []uint16{429, 429, 503, 0, 200}[s/6] }),
		course(t, "out/<headroom>/load-1.json", 5*time.Second, 30, 20, func(s int) uint16 { return 200 }),
		course(t, "later.bin", time.Hour, 10, 1, func(s int) uint16 { return 500 }),
	}}
}

// TestCourses: in each format the drawing names all files, statuses and nodes, as far as
// there is place.
func TestCourses(t *testing.T) {
	dir, cs := t.TempDir(), examples(t)
	for _, format := range Formats() {
		if err := cs.Save(filepath.Join(dir, "plot."+format)); err != nil {
			t.Fatalf("%s: %v", format, err)
		}
	}
	read := func(format string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, "plot."+format))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	text := texts(t, read("svg"))
	for _, want := range []string{
		"out/recalc/load-1.json", "out/<headroom>/load-1.json", "later.bin", "1500 sent, 50.0/s, 73.33 % served", "node-1", "node-10", "others", "429", "503",
		"no answer", "asked for", "p99", "served, %", "latency of served, ms", "seconds", "made by a test",
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%q is not in the drawing", want)
		}
	}
	page := string(read("html"))
	if strings.Contains(page, "<headroom>") || !strings.Contains(page, "out/&lt;headroom&gt;/load-1.json") || strings.Count(page, "<svg") != 1 {
		t.Error("names of files are not escaped in the page, or it has no drawing")
	}
	for _, foreign := range []string{"http://", "https://", "<script", "<link"} {
		if strings.Contains(strings.ReplaceAll(page, "http://www.w3.org/", ""), foreign) {
			t.Errorf("the page has %s: it is not of one file", foreign)
		}
	}
	if image, err := png.Decode(bytes.NewReader(read("png"))); err != nil || image.Bounds().Dx() < 1500 {
		t.Errorf("%v, %v", image.Bounds(), err)
	}
	rows, err := csv.NewReader(bytes.NewReader(read("csv"))).ReadAll()
	if err != nil || len(rows) != 1+30+30+10 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	if second := rows[1+30][1]; second != "5" {
		t.Errorf("the second file begins at second %s", second)
	}
	if last := rows[len(rows)-1]; last[1] != "9" || last[3] != "50" || last[slices.Index(rows[0], "status_500")] == "0" || last[slices.Index(rows[0], "by_node-20")] != "0" {
		t.Errorf("last row %v", last)
	}
	if err := cs.Save(filepath.Join(dir, "plot.doc")); err == nil {
		t.Error("an unknown format is drawn")
	}
}

// TestSuccess: what was asked for and not sent counts as not served; a request that was
// sent a moment after the end of its second does not.
func TestSuccess(t *testing.T) {
	cs := examples(t)
	c := cs.Courses[1]
	asked := cs.asked(c)
	if asked[0] != 60 || asked[29] < 59 || asked[29] > 60 {
		t.Errorf("%v asked for, want 60 in each second", asked)
	}
	cs.Rate = 50
	c.Bins[3].Sent, c.Bins[4].Sent = 49, 51
	if asked := cs.asked(c); asked[3] != 49 || asked[4] != 51 {
		t.Errorf("%v asked for in seconds 3 and 4", asked[3:5])
	}
	c.Bins[3].Sent, c.Bins[4].Sent = 30, 50
	if asked := cs.asked(c); asked[3] != 50 || asked[4] != 50 {
		t.Errorf("%v asked for in seconds 3 and 4, of which the first has 20 too few", asked[3:5])
	}
	cs.Rate = 0
	if asked := cs.asked(c); asked[3] != 30 {
		t.Errorf("%v asked for without a rate, want 30", asked[3])
	}
}

// TestScale: latencies that span much have a logarithmic axis, with a number at each
// power of ten.
func TestScale(t *testing.T) {
	if s := scaleFor(5, 100); s.logarithmic || s.of(7) != 7 {
		t.Errorf("%+v", s)
	}
	s := scaleFor(0.5, 700)
	if !s.logarithmic || s.of(100) != 2 || s.low != -1 || s.high != 3 {
		t.Errorf("%+v", s)
	}
	var labels []string
	for _, tick := range (decades{}).Ticks(s.low, s.high) {
		if tick.Label != "" {
			labels = append(labels, tick.Label)
		}
	}
	if got := strings.Join(labels, " "); got != "0.1 1 10 100 1000" {
		t.Errorf("labels %s", got)
	}
}
