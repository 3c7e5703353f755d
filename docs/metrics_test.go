// Package docs holds what keeps the documentation true that is made from the code.
package docs

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/identity"
	"github.com/dfaas/dfaas/controller/node"
	"github.com/dfaas/dfaas/controller/overlay"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/agent"
	"github.com/dfaas/dfaas/spoa/control"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/route"
)

var update = flag.Bool("update", false, "write metrics.md anew")

// metric is what a program says of one of its metrics.
type metric struct {
	name, help string
	kind       dto.MetricType
	labels     []string
}

// described takes collectors as a registry does, and keeps what they describe.
type described struct {
	t       *testing.T
	metrics []metric
}

var _ prometheus.Registerer = (*described)(nil)

func (d *described) Register(c prometheus.Collector) error {
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		c.Describe(descs)
	}()
	for desc := range descs {
		d.metrics = append(d.metrics, metricOf(d.t, c, desc))
	}
	return nil
}

func (d *described) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		_ = d.Register(c)
	}
}

func (*described) Unregister(prometheus.Collector) bool { return false }

var descText = regexp.MustCompile(`^Desc\{fqName: ("(?:[^"\\]|\\.)*"), help: ("(?:[^"\\]|\\.)*"), unit: "[^"]*", constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

// metricOf reads a description, which has no other way to be read. Package
// promlint sees to it that counters, and no others, are named _total.
func metricOf(t *testing.T, c prometheus.Collector, desc *prometheus.Desc) metric {
	t.Helper()
	match := descText.FindStringSubmatch(desc.String())
	if match == nil {
		t.Fatalf("not read: %s", desc)
	}
	var m metric
	if _, err := fmt.Sscanf(match[1]+" "+match[2], "%q %q", &m.name, &m.help); err != nil {
		t.Fatalf("%s: %v", desc, err)
	}
	for _, label := range strings.Split(match[3], ",") {
		if name, _, ok := strings.Cut(label, "="); ok {
			m.labels = append(m.labels, name)
		}
	}
	if match[4] != "" {
		m.labels = append(m.labels, strings.Split(match[4], ",")...)
	}
	m.kind = dto.MetricType_GAUGE
	if _, ok := c.(interface{ Observe(float64) }); ok {
		m.kind = dto.MetricType_HISTOGRAM
	} else if strings.HasSuffix(m.name, "_total") {
		m.kind = dto.MetricType_COUNTER
	}
	return m
}

// programs returns the metrics of the controller and of the agent, sorted.
func programs(t *testing.T) (controller, spoa []metric) {
	t.Helper()
	d := &described{t: t}
	id, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	listen, err := ma.NewMultiaddr("/ip4/127.0.0.1/tcp/0")
	if err != nil {
		t.Fatal(err)
	}
	network, err := overlay.New(t.Context(), overlay.Config{
		Federation: "docs", Identity: id, Listen: []ma.Multiaddr{listen}, Log: zerolog.Nop(), Registerer: d,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer network.Close()
	s, err := strategy.New("headroom")
	if err != nil {
		t.Fatal(err)
	}
	node.New(node.Options{Self: testvalue.Peer(id.String()), Version: "v0", Federation: "docs", Strategy: s, Period: time.Second, Overlay: network, Registerer: d})
	controller = sorted(d.metrics)

	d = &described{t: t}
	router := route.NewRouter(meter.New(time.Now()))
	control.NewServer(router, agent.New(router, zerolog.Nop()), "v0", time.Now(), zerolog.Nop()).Register(d)
	return controller, sorted(d.metrics)
}

func sorted(all []metric) []metric {
	slices.SortFunc(all, func(a, b metric) int { return strings.Compare(a.name, b.name) })
	return all
}

// metrics.md says what the code does.
func TestMetricsPage(t *testing.T) {
	controller, spoa := programs(t)
	page := []byte(render(controller, spoa))
	before, err := os.ReadFile("metrics.md")
	if bytes.Equal(before, page) {
		return
	}
	if *update {
		if err := os.WriteFile("metrics.md", page, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("metrics.md is stale (%v); run go test ./docs -update (-the page +the code):\n%s", err, cmp.Diff(string(before), string(page)))
}

var named = regexp.MustCompile(`[^a-z_](dfaas_[a-z_]*[a-z])\b[^*_]`)

// What operators are told to look at is there.
func TestMetricsNamed(t *testing.T) {
	controller, spoa := programs(t)
	there := make(map[string]bool)
	for _, m := range slices.Concat(controller, spoa) {
		there[m.name] = true
	}
	page, err := os.ReadFile("operate.md")
	if err != nil {
		t.Fatal(err)
	}
	found := named.FindAllStringSubmatch(string(page), -1)
	if len(found) < 20 {
		t.Fatalf("operate.md names %d metrics", len(found))
	}
	for _, match := range found {
		if name := match[1]; !there[name] && !strings.HasPrefix(name, "dfaas_provider_") {
			t.Errorf("operate.md names %s, which is none", match[1])
		}
	}
}

// promtool check metrics has nothing to say.
func TestMetricsLint(t *testing.T) {
	controller, spoa := programs(t)
	var families []*dto.MetricFamily
	for _, m := range slices.Concat(controller, spoa) {
		sample := &dto.Metric{}
		for _, label := range m.labels {
			sample.Label = append(sample.Label, &dto.LabelPair{Name: &label, Value: new(string)})
		}
		families = append(families, &dto.MetricFamily{Name: &m.name, Help: &m.help, Type: &m.kind, Metric: []*dto.Metric{sample}})
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

const head = `# Metrics

Every metric of the controller and of the agent, made from the code by ` + "`go test ./docs -update`" + `. Where they are
served, what to alert on and what to look at first: [operate.md](operate.md#metrics).

The series of functions are those of the 200 functions that were called most since the agent started, those of peers of the 256 with the
most calls; ` + "`*_series_omitted`" + ` counts the others, whose calls are in ` + "`dfaas_spoa_decisions_total`" + ` all the same. ` + "`peer`" + ` is a
peer's id. A rate without limit is ` + "`+Inf`" + `. The controller has the agent's counters by a look that is half a second old at most: they start
from 0 when the agent is restarted, as Prometheus expects of a counter. Both speak OpenMetrics to who asks for it. The metrics ` + "`go_*`" + `
and ` + "`process_*`" + ` are those of every Go program.
`

func render(controller, spoa []metric) string {
	var page strings.Builder
	page.WriteString(head)
	for _, program := range []struct {
		title   string
		metrics []metric
	}{{"dfaas-controller", controller}, {"dfaas-spoa", spoa}} {
		fmt.Fprintf(&page, "\n## %s\n\n| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n", program.title)
		for _, m := range program.metrics {
			labels := "-"
			if len(m.labels) > 0 {
				labels = "`" + strings.Join(m.labels, "`, `") + "`"
			}
			fmt.Fprintf(&page, "| `%s` | %s | %s | %s |\n", m.name, strings.ToLower(m.kind.String()), labels, strings.ReplaceAll(m.help, "|", `\|`))
		}
	}
	return page.String()
}
