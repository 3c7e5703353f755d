package topology

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func names() []string { return []string{"node-1", "node-2", "node-3"} }

const graphML = `<?xml version="1.0" encoding="utf-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
  <key id="d0" for="edge" attr.name="delay" attr.type="string"/>
  <key id="d1" for="edge" attr.name="rate" attr.type="string"><default>1gbit</default></key>
  <key id="d2" for="edge" attr.name="weight" attr.type="int"/>
  <graph edgedefault="undirected">
    <node id="node-1"/><node id="node-2"/><node id="node-3"><data key="d9">x</data></node>
    <edge source="node-2" target="node-1"><data key="d0"> 20ms </data><data key="d2">7</data></edge>
    <edge source="node-2" target="node-3"><data key="d1">5mbit</data></edge>
  </graph>
</graphml>`

func TestFiles(t *testing.T) {
	like := Link{Delay: 2 * time.Millisecond}
	want := []Edge{
		{0, 1, Link{Delay: 20 * time.Millisecond, Rate: 1e9}},
		{1, 2, Link{Delay: 2 * time.Millisecond, Rate: 5e6}},
	}
	for name, text := range map[string]string{
		"x.graphml": graphML,
		"x.csv":     "# who reaches whom\nsource, target, rate, delay\nnode-2,node-1,1gbit,20ms\n\nnode-2,node-3, 5mbit ,\n",
	} {
		got, err := Parse(name, []byte(text), names(), like)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got.Edges); diff != "" || got.Direct {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	plain, err := Parse("x.csv", []byte("\ufeffnode-1,node-2\nnode-3,node-1"), names(), like)
	if err != nil || pairs(plain) != "0-1 0-2" || plain.Edges[0].Link != like {
		t.Errorf("%+v, %v", plain, err)
	}
}

func TestFilesRefuse(t *testing.T) {
	edge := func(text string) string { return strings.Replace(graphML, "<edge source", text+"<edge source", 1) }
	for _, test := range []struct{ name, text, want string }{
		{"x.txt", "node-1,node-2", "x.txt:1: the name of a file of links ends with"},
		{"x.csv", "", "x.csv:1: there are no links"},
		{"x.csv", "source,target\n", "x.csv:1: there are no links"},
		{"x.csv", "node-1,node-2\nnode-1,node-9\n", `x.csv:2: there is no node "node-9"`},
		{"x.csv", "node-1,node-1\n", "x.csv:1: node-1 is linked to itself"},
		{"x.csv", "node-1,node-2\n\nnode-2,node-1\n", "x.csv:3: node-2 and node-1 are linked in line 1 already"},
		{"x.csv", "node-1,node-2,20ms\n", "x.csv:1: 3 columns, and not source,target;"},
		{"x.csv", "source,target,delay,weight\n", `x.csv:1: column "weight"`},
		{"x.csv", "source,target,delay,delay\n", `x.csv:1: column "delay"`},
		{"x.csv", "source,target,delay\nnode-1,node-2,20\n", `x.csv:2: delay: a duration like 20ms is expected, not "20"`},
		{"x.csv", "source,target,jitter\nnode-1,node-2,20ms\n", "x.csv:2: jitter: 20ms is more than the delay"},
		{"x.csv", "\"node-1\n", "x.csv:1: not CSV"},
		{"x.csv", strings.Repeat("#", MaxFile+1), "x.csv:1: the file is larger than"},
		{"x.graphml", "", "x.graphml:1: not GraphML"},
		{"x.graphml", "<html></html>", `x.graphml:1: not GraphML: it begins with "html"`},
		{"x.graphml", graphML[:300], "x.graphml:5: not XML"},
		{"x.graphml", strings.Replace(graphML, "target=\"node-1\"", "target=\"node-9\"", 1), `x.graphml:8: there is no node "node-9"`},
		{"x.graphml", strings.Replace(graphML, "<node id=\"node-1\"/>", "<node id=\"n\"/>", 1), `x.graphml:7: there is no node "n"`},
		{"x.graphml", strings.Replace(graphML, "5mbit", "5", 1), "x.graphml:9: rate: a rate like 100mbit"},
		{"x.graphml", strings.Replace(graphML, "</graphml>", "<graph></graph></graphml>", 1), "x.graphml:11: more than one graph"},
		{"x.graphml", edge("<hyperedge/>"), "x.graphml:8: a hyperedge has more"},
		{"x.graphml", edge("<edge>"), "x.graphml:8: an edge in an edge"},
		{"x.graphml", strings.Repeat("<graphml>", 100), "x.graphml:1: elements are nested more"},
	} {
		_, err := Parse(test.name, []byte(test.text), names(), Link{})
		if err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%.60q: %v\nwant %s", test.text, err, test.want)
		}
	}
	if _, err := Read("missing.csv", names(), Link{}); err == nil || !strings.Contains(err.Error(), "missing.csv: no such file") {
		t.Errorf("a file that is not there: %v", err)
	}
}

func fuzz(f *testing.F, name string) {
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Parse(name, data, names(), Link{})
		if err != nil {
			if !strings.HasPrefix(err.Error(), name+":") || strings.ContainsAny(err.Error(), "\n\r\x00\x1b") {
				t.Fatalf("refused with %q", err)
			}
			return
		}
		if len(got.Edges) == 0 || len(got.Edges) > 3 {
			t.Fatalf("accepted %+v", got)
		}
		for _, e := range got.Edges {
			if e.A >= e.B || e.B > 2 || e.Delay < 0 || e.Delay > MaxDelay || e.Jitter < 0 || e.Jitter > e.Delay || !(e.Rate >= 0 && e.Rate <= maxRate) ||
				!(e.Loss >= 0 && e.Loss <= 1) {
				t.Fatalf("accepted %+v", e)
			}
		}
	})
}

func FuzzCSV(f *testing.F) {
	f.Add([]byte("node-1,node-2\n"))
	f.Add([]byte("source,target,delay,jitter,rate,loss\nnode-1,node-2,20ms,1ms,100mbit,1%\nnode-3,node-2,,,,0.01\n"))
	f.Add([]byte("a,\"b\nc\",d"))
	fuzz(f, "x.csv")
}

func FuzzGraphML(f *testing.F) {
	f.Add([]byte(graphML))
	f.Add([]byte("<graphml><graph><edge source='node-1' target='node-3'/></graph></graphml>"))
	f.Add([]byte("<graphml><key for='all' attr.name='LOSS'><default>1</default></key><!-- x --><![CDATA[y]]>"))
	fuzz(f, "x.graphml")
}

func FuzzLink(f *testing.F) {
	for _, text := range []string{"20ms", "100mbit", "1%", "0.01", "1e9gbit", "-0%", "0"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, name := range Properties() {
			var l Link
			if err := l.Set(name, text); err != nil {
				continue
			}
			words := strings.Fields(l.String())
			if len(words) > 1 {
				t.Fatalf("%s=%s gives %s", name, text, l)
			}
			for _, word := range words {
				var again Link
				if key, value, _ := strings.Cut(word, "="); again.Set(key, value) != nil {
					t.Fatalf("%q is not read again", word)
				}
			}
		}
	})
}
