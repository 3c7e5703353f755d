package soak

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/machine"
	"github.com/dfaas/dfaas/internal/unixsock"
)

// reading is what one process used at one time; -1: not known.
type reading struct {
	at                        time.Duration
	goroutines, memory, files int // memory in bytes
}

// life is one run of one part of a node.
type life struct {
	node string
	part scenario.Part
	pid  int
}

// readings are those of every life.
type readings map[life][]reading

// read adds a reading of everything that runs.
func (r readings) read(ctx context.Context, f *federation.Federation, now time.Duration) {
	for _, n := range f.Nodes() {
		for _, p := range n.Parts() {
			if p.State != federation.Running {
				continue
			}
			entry := reading{at: now, goroutines: goroutines(ctx, n, p.Part)}
			for _, pid := range append(children(p.PID), p.PID) {
				// What has ended meanwhile uses nothing.
				memory, _ := machine.ResidentMemory(pid)
				files, _ := machine.OpenFiles(pid)
				entry.memory += int(memory)
				entry.files += files
			}
			// What ended meanwhile was not measured.
			if _, err := os.Stat(procPath(p.PID, "")); err == nil {
				l := life{n.Name, p.Part, p.PID}
				r[l] = append(r[l], entry)
			}
		}
	}
}

func procPath(pid int, file string) string { return filepath.Join("/proc", strconv.Itoa(pid), file) }

// children are HAProxy's workers; those of a provider are functions, which come
// and go.
func children(pid int) []int {
	if name, err := os.ReadFile(procPath(pid, "comm")); err != nil || strings.TrimSpace(string(name)) != "haproxy" {
		return nil
	}
	text, err := os.ReadFile(procPath(pid, "task/"+strconv.Itoa(pid)+"/children"))
	if err != nil {
		return nil
	}
	var pids []int
	for _, field := range strings.Fields(string(text)) {
		if child, err := strconv.Atoi(field); err == nil {
			pids = append(pids, child)
		}
	}
	return pids
}

const metricsTimeout = time.Second

// goroutines asks a part for the number of its goroutines.
func goroutines(ctx context.Context, n *federation.Node, part scenario.Part) int {
	url, client := "http://local/metrics", http.DefaultClient
	switch part {
	case scenario.Provider:
		url, client = n.Gateway+"/metrics", &http.Client{Transport: &http.Transport{DialContext: n.Dial}}
	case scenario.SPOA:
		client = unixsock.Client(n.ControlSocket, 0)
	case scenario.Controller:
		client = unixsock.Client(n.AdminSocket, 0)
	default:
		return -1
	}
	value, err := metric(ctx, client, url, "go_goroutines")
	if err != nil {
		return -1 // it hangs, or has just started
	}
	return int(value)
}

// metric reads one value without labels from what a part tells Prometheus.
func metric(ctx context.Context, client *http.Client, url, name string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, metricsTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	request.Close = true
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && key == name {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("%s: no %s", url, name)
}

// trend is how something developed over one life: at its start, once warm, in
// the middle and at its end.
type trend struct{ start, middle, end int }

const (
	// warmUp is the part of a life that is not judged.
	warmUp = 0.2
	// minReadings is how many a life must have for a trend, after warming up.
	minReadings = 9
	// minLife is the part of the longest life that another must last to be judged:
	// a trend over a minute of many is the load's.
	minLife = 0.2
)

// trendOf finds the trend of a value; false if there are too few readings. Each
// third counts with its median, because load comes and goes.
func trendOf(all []reading, value func(reading) int) (trend, bool) {
	var values []int
	for k, r := range all {
		if float64(k) >= warmUp*float64(len(all)) && value(r) >= 0 {
			values = append(values, value(r))
		}
	}
	if len(values) < minReadings {
		return trend{}, false
	}
	third := len(values) / 3
	return trend{median(values[:third]), median(values[third : len(values)-third]), median(values[len(values)-third:])}, true
}

func median(values []int) int {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// grows reports whether it grew by more than half and the slack, and was still
// growing at the end.
func (t trend) grows(slack int) bool {
	return t.end > t.start+t.start/2+slack && t.end > t.middle+slack/4
}

// usage are the trends of one life.
type usage struct {
	life     life
	readings int
	// Each is nil if there are too few readings.
	goroutines, memory, files *trend
}

// What may come and go without a leak.
const (
	goroutineSlack = 64
	memorySlack    = 64 << 20
	fileSlack      = 64
)

// usages lists the longest life of every part, by node and part.
func (r readings) usages() []usage {
	most := 0
	for _, all := range r {
		most = max(most, len(all))
	}
	longest := make(map[life]usage)
	for l, all := range r {
		find := func(value func(reading) int) *trend {
			if t, ok := trendOf(all, value); ok && float64(len(all)) >= minLife*float64(most) {
				return &t
			}
			return nil
		}
		u := usage{
			life: l, readings: len(all),
			goroutines: find(func(r reading) int { return r.goroutines }),
			memory:     find(func(r reading) int { return r.memory }),
			files:      find(func(r reading) int { return r.files }),
		}
		key := life{node: l.node, part: l.part}
		if longest[key].readings < u.readings {
			longest[key] = u
		}
	}
	var list []usage
	for _, u := range longest {
		list = append(list, u)
	}
	slices.SortFunc(list, func(a, b usage) int {
		return cmp.Or(cmp.Compare(a.life.node, b.life.node), cmp.Compare(a.life.part, b.life.part))
	})
	return list
}
