package scenario

import (
	"net/http"
	"path/filepath"
	"regexp"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/dfaas/dfaas/internal/experiment/load/shape"
	"github.com/dfaas/dfaas/internal/experiment/load/trace"
	"github.com/dfaas/dfaas/internal/yamlfile"
)

// load reads a load; one that moves, or is measured, is as many loads as it has targets.
func (r *reader) load(n *yaml.Node) []Load {
	l := Load{Line: n.Line}
	var targets []string
	var measured *measured
	shaped := false
	r.Mapping(n, "a load", yamlfile.Fields{
		"target": func(n *yaml.Node) { l.Target = r.Text(n, "target") },
		"targets": func(n *yaml.Node) {
			r.List(n, "targets", r.limits.Nodes, func(n *yaml.Node) { targets = append(targets, r.Text(n, "targets")) })
		},
		"function": func(n *yaml.Node) { l.Function = r.Text(n, "function") },
		"rate":     func(n *yaml.Node) { l.Rate = r.Number(n, "rate", 0.01, MaxRate) },
		"shape":    func(n *yaml.Node) { shaped = true; l.Shape, measured = r.shape(n) },
		"arrivals": func(n *yaml.Node) { l.Arrivals = refused(r, n, "arrivals", shape.ParseArrivals) },
		"start":    func(n *yaml.Node) { l.Start = r.Duration(n, "start", 0, MaxLasting) },
		"duration": func(n *yaml.Node) { l.Duration = r.Duration(n, "duration", time.Second, MaxLasting) },
		"method": func(n *yaml.Node) {
			l.Method = r.Name(n, "method", method, "an HTTP method like GET or POST is expected")
		},
		"path": func(n *yaml.Node) {
			l.Path = r.Name(n, "path", suffix, "what follows the function's name, starting with /")
		},
		"query": func(n *yaml.Node) {
			l.Query = r.Name(n, "query", query, "key=value pairs without ? or blanks are expected")
		},
		"body":    func(n *yaml.Node) { l.Body = r.Text(n, "body") },
		"headers": func(n *yaml.Node) { l.Headers = r.headers(n) },
	}, "function", "duration")
	if l.Method == "" {
		l.Method = http.MethodGet
		if l.Body != "" {
			l.Method = http.MethodPost
		}
	}
	switch {
	case l.Shape.Kind == shape.Steps && l.Rate != 0:
		r.Refuse(n.Line, "rate: the steps say what the rate is")
	case l.Shape.Kind == shape.Steps:
	case l.Rate == 0 && !(shaped && l.Shape.Kind == shape.Flat): // else its shape was refused
		r.Refuse(n.Line, "a load has no rate")
	}
	if measured != nil {
		return r.measured(n, l, targets, measured)
	}
	if l.Shape.Kind != shape.Moving {
		if targets != nil {
			r.Refuse(n.Line, "targets: only a load whose shape is moving, or a trace of several, has several")
		} else if l.Target == "" {
			r.Refuse(n.Line, "a load has no target")
		}
		return []Load{l}
	}
	if len(targets) < 2 || l.Target != "" {
		r.Refuse(n.Line, "a load that moves has targets, two at least, between which it does")
	}
	loads := make([]Load, 0, len(targets))
	for i, target := range targets {
		l.Target, l.Shape.Targets, l.Shape.Index = target, len(targets), i
		loads = append(loads, l)
	}
	return loads
}

// traceName is a file beside the scenario's: a scenario reads no other.
var traceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// measured is a trace with several series, or with columns of its own.
type measured struct {
	trace *trace.Trace // nil: it was refused
	first int          // series, of those that are called most, that the first target gets
}

// measured are the loads of a trace: each target gets a series.
func (r *reader) measured(n *yaml.Node, l Load, targets []string, m *measured) []Load {
	if (l.Target != "") == (targets != nil) {
		r.Refuse(n.Line, "a load of a trace has a target, or targets that get a series each")
		return nil
	}
	if targets == nil {
		targets = []string{l.Target}
	}
	if m.trace == nil {
		return nil
	}
	series, err := m.trace.Of(targets, l.Function, m.first)
	if err != nil {
		r.Refuse(n.Line, "trace: %v", err)
		return nil
	}
	var loads []Load
	for i, target := range targets {
		l.Target, l.Shape.Steps = target, series[i].Steps
		loads = append(loads, l)
	}
	return loads
}

// shape reads how a load's rate changes: one of the shapes.
func (r *reader) shape(n *yaml.Node) (shape.Shape, *measured) {
	s := shape.Shape{Skew: DefaultSkew}
	var m *measured
	var kinds []string
	is := func(name string, kind shape.Kind) { kinds, s.Kind = append(kinds, name), kind }
	skew := false
	r.Mapping(n, "a shape", yamlfile.Fields{
		"steps": func(n *yaml.Node) { is("steps", shape.Steps); s.Steps = r.steps(n) },
		"trace": func(n *yaml.Node) {
			is("trace", shape.Steps)
			if n.Kind == yaml.MappingNode {
				m = r.anyTrace(n)
			} else {
				s.Steps = r.trace(n)
			}
		},
		"ramp": func(n *yaml.Node) { is("ramp", shape.Ramp); s.To = r.Number(n, "ramp", 0, MaxRate) },
		"moving": func(n *yaml.Node) {
			is("moving", shape.Moving)
			if s.Every = r.Duration(n, "moving", 0, MaxLasting); s.Every > 0 && s.Every < 100*time.Millisecond {
				r.Refuse(n.Line, "moving: %s is less than 100ms; 0s spreads the load once", s.Every)
			}
		},
		"skew":  func(n *yaml.Node) { skew = true; s.Skew = r.Number(n, "skew", 0, 10) },
		"onoff": func(n *yaml.Node) { is("onoff", shape.OnOff); s.On, s.Off = r.onOff(n) },
	})
	switch {
	case len(kinds) == 0:
		r.Refuse(n.Line, "a shape is one of steps, trace, ramp, moving and onoff")
	case len(kinds) > 1:
		r.Refuse(n.Line, "a shape is one of steps, trace, ramp, moving and onoff, not %s and %s", kinds[0], kinds[1])
	case skew && s.Kind != shape.Moving:
		r.Refuse(n.Line, "skew: only a moving shape has it")
	}
	if s.Kind != shape.Moving {
		s.Skew = 0
	}
	return s, m
}

// anyTrace reads a trace of any form.
func (r *reader) anyTrace(n *yaml.Node) *measured {
	m := &measured{}
	var name string
	var o trace.Options
	r.Mapping(n, "a trace", yamlfile.Fields{
		"file": func(n *yaml.Node) {
			name = r.Name(n, "file", traceName, "the name of a file beside the scenario's is expected")
		},
		"columns": func(n *yaml.Node) { o.Columns = refused(r, n, "columns", trace.ParseColumns) },
		"speed":   func(n *yaml.Node) { o.Speed = r.Number(n, "speed", 0.001, 1e6) },
		"scale":   func(n *yaml.Node) { o.Scale = r.Number(n, "scale", 1e-6, 1e6) },
		"from":    func(n *yaml.Node) { o.From = r.Duration(n, "from", 0, 3660*24*time.Hour) },
		"first":   func(n *yaml.Node) { m.first = int(r.Whole(n, "first", 1, trace.MaxSeries)) - 1 },
	}, "file")
	if r.Err() != nil || !traceName.MatchString(name) {
		return m
	}
	var err error
	if m.trace, err = trace.ReadFile(filepath.Join(r.directory, name), o); err != nil {
		r.Refuse(n.Line, "trace: %v", err)
	}
	return m
}

// maxSteps bounds the steps in a scenario; a trace may have more.
const maxSteps = 1000

func (r *reader) steps(n *yaml.Node) []shape.Step {
	var steps []shape.Step
	r.List(n, "steps", maxSteps, func(n *yaml.Node) {
		var step shape.Step
		r.Mapping(n, "a step", yamlfile.Fields{
			"at":   func(n *yaml.Node) { step.At = r.Duration(n, "at", 0, MaxLasting) },
			"rate": func(n *yaml.Node) { step.Rate = r.Number(n, "rate", 0, MaxRate) },
		}, "at", "rate")
		steps = append(steps, step)
		if err := shape.CheckOrder(steps); err != nil {
			r.Refuse(n.Line, "steps: %v", err)
		}
	})
	if len(steps) == 0 {
		r.Refuse(n.Line, "steps: there are none")
	}
	return steps
}

func (r *reader) trace(n *yaml.Node) []shape.Step {
	name := r.Name(n, "trace", traceName, "the name of a file beside the scenario's is expected")
	if !traceName.MatchString(name) {
		return nil
	}
	steps, err := shape.ReadTrace(filepath.Join(r.directory, name))
	if err != nil {
		r.Refuse(n.Line, "trace: %v", err)
	}
	return steps
}

func (r *reader) onOff(n *yaml.Node) (on, off time.Duration) {
	r.Mapping(n, "onoff", yamlfile.Fields{
		"on":  func(n *yaml.Node) { on = r.Duration(n, "on", 10*time.Millisecond, MaxLasting) },
		"off": func(n *yaml.Node) { off = r.Duration(n, "off", 10*time.Millisecond, MaxLasting) },
	}, "on", "off")
	return on, off
}
