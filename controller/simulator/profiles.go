package simulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/limit"
)

// Bounds of profiles. What is outside of them is refused.
const (
	maxProfiles        = 10_000
	maxProfile         = 1 << 20 // bytes
	maxMinutes         = 10_000
	maxProfileFunction = 1_000 // of a minute
)

// Profiles are measurements of real nodes, from which instances can be drawn. Each
// is one experiment: the functions that a node had, with the rates that it could
// serve and how long calls took.
type Profiles struct {
	profiles []profile
	// took is how long calls of a function took where a profile does not say, ms.
	took map[string]float64
}

// profile is what one file says.
type profile struct {
	cpus      float64 // 0: it does not say
	functions []Function
}

// experiment is the form of a file.
type experiment struct {
	Input struct {
		Node string  `json:"node"`
		CPUs float64 `json:"cpus"`
	} `json:"input"`
	Output []minute `json:"output"`
}

// minute is what was measured in one.
type minute struct {
	Functions []measured `json:"functions"`
}

// measured is one function's row.
type measured struct {
	Name     string  `json:"name"`
	MaxRate  float64 `json:"max_rate"`        // requests/s
	Took     float64 `json:"afet"`            // mean time of a call, s; 0 without calls
	Rate     float64 `json:"invoc_rate"`      // requests/s
	PromRate float64 `json:"prom_invoc_rate"` // the same, by another meter
	State    string  `json:"state"`           // Underload or Overload
}

// ReadProfiles reads all profiles, *.json, below a directory, in the order of their
// paths. An error has the file, the place in it, and the reason.
func ReadProfiles(dir string) (*Profiles, error) {
	p := &Profiles{took: make(map[string]float64)}
	times := make(map[string][]float64)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".json" {
			return err
		}
		if len(p.profiles) == maxProfiles {
			return fmt.Errorf("%s: more than %d profiles", path, maxProfiles)
		}
		data, err := readBounded(path, maxProfile)
		if err != nil {
			return err
		}
		one, err := parseProfile(data)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		p.profiles = append(p.profiles, one)
		for _, f := range one.functions {
			if f.ServiceMillis > 0 {
				times[f.Name] = append(times[f.Name], f.ServiceMillis)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading profiles: %w", err)
	}
	p.profiles = slices.DeleteFunc(p.profiles, func(one profile) bool { return len(one.functions) == 0 })
	if len(p.profiles) == 0 {
		return nil, fmt.Errorf("reading profiles: %s: no *.json in it has a function", dir)
	}
	for name, t := range times {
		p.took[name] = median(t)
	}
	return p, nil
}

func readBounded(path string, limit int) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(data) > limit {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, limit)
	}
	return data, nil
}

func parseProfile(data []byte) (profile, error) {
	var e experiment
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if err := json.Unmarshal(data, &e); err != nil {
		return profile{}, placed(data, err)
	}
	switch {
	case e.Input.Node == "" || len(e.Output) == 0:
		return profile{}, errors.New("no profile: it has no input.node, or no output")
	case !(e.Input.CPUs >= 0 && e.Input.CPUs <= 1e6):
		return profile{}, fmt.Errorf("input.cpus: %v: it may be 0 (not known) to 1e6", e.Input.CPUs)
	case len(e.Output) > maxMinutes:
		return profile{}, fmt.Errorf("output: %d minutes, at most %d", len(e.Output), maxMinutes)
	}
	rates, times := make(map[string]float64), make(map[string][]float64)
	for m := range e.Output {
		if err := e.Output[m].read(rates, times); err != nil {
			return profile{}, fmt.Errorf("output[%d].%w", m, err)
		}
	}
	out := profile{cpus: e.Input.CPUs}
	for name, rate := range rates {
		f := Function{Name: name, Maxrate: rate}
		if len(times[name]) > 0 {
			f.ServiceMillis = median(times[name])
		}
		out.functions = append(out.functions, f)
	}
	slices.SortFunc(out.functions, func(a, b Function) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// read takes in a minute: the rate of each function, and how long its calls took
// while there were some and the node was not overloaded.
func (m *minute) read(rates map[string]float64, times map[string][]float64) error {
	if len(m.Functions) > maxProfileFunction {
		return fmt.Errorf("functions: %d, at most %d", len(m.Functions), maxProfileFunction)
	}
	for i, f := range m.Functions {
		refuse := func(key, format string, args ...any) error {
			return fmt.Errorf("functions[%d].%s: %s", i, key, fmt.Sprintf(format, args...))
		}
		switch {
		case !funcname.Valid(f.Name):
			return refuse("name", "%.80q is no name of a function", f.Name)
		case f.MaxRate == 0 || !limit.ValidRate(f.MaxRate):
			return refuse("max_rate", "%v requests/s of %s: it must be above 0 and at most %v", f.MaxRate, f.Name, float64(limit.MaxRate))
		case !(f.Took >= 0 && f.Took <= 3600):
			return refuse("afet", "%v s for a call of %s: it may be 0 to an hour", f.Took, f.Name)
		}
		rates[f.Name] = f.MaxRate
		if f.Took > 0 && f.State != "Overload" && (f.Rate > 0 || f.PromRate > 0) {
			times[f.Name] = append(times[f.Name], 1000*f.Took)
		}
	}
	return nil
}

func median(x []float64) float64 {
	sorted := slices.Sorted(slices.Values(x))
	return sorted[len(sorted)/2]
}

// draw makes a node as one of the profiles describes it.
func (p *Profiles) draw(r *rand.Rand) Node {
	one := &p.profiles[r.IntN(len(p.profiles))]
	n := Node{CPUs: one.cpus, Functions: slices.Clone(one.functions)}
	for i := range n.Functions {
		if f := &n.Functions[i]; f.ServiceMillis == 0 {
			f.ServiceMillis = p.took[f.Name] // 0, the default, if no profile says
		}
	}
	return n
}
