package scenario

import (
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/yamlfile"
)

// Problems is the error of Parse: all that is wrong with a file, by line.
type Problems = yamlfile.Problems

// ReadFile returns the text of the file of that path, for Parse.
func ReadFile(path string) ([]byte, error) {
	text, err := yamlfile.Read(path, MaxFile)
	if err != nil {
		return nil, fmt.Errorf("reading the scenario: %w", err)
	}
	return text, nil
}

// Parse reads a scenario within the limits, strictly. An error is of type Problems:
// each has the name of the file, the line and the reason.
func Parse(file string, data []byte, limits Limits) (*Scenario, error) {
	r := &reader{Reader: yamlfile.New(file), limits: limits.orDefaults(), directory: filepath.Dir(file)}
	document := r.Document(data, MaxFile)
	if document == nil {
		if r.Err() == nil {
			r.Refuse(1, "the file is empty")
		}
		return nil, r.Err()
	}
	s := &Scenario{Strategy: DefaultStrategy, Period: DefaultPeriod, Warmup: DefaultWarmup, DefaultMaxrate: DefaultMaxrate, Seed: DefaultSeed}
	r.scenario(document, s)
	if err := r.Err(); err != nil {
		return nil, err
	}
	r.references(s)
	if err := r.Err(); err != nil {
		return nil, err
	}
	s.Reseed(s.Seed)
	return s, nil
}

var (
	label     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	nodeName  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)
	title     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	method    = regexp.MustCompile(`^[A-Z]{1,16}$`)
	suffix    = regexp.MustCompile(`^/[A-Za-z0-9/._~%-]{0,999}$`)
	query     = regexp.MustCompile(`^[A-Za-z0-9/._~%=&+:,-]{1,1000}$`)
	header    = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)
	variable  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)
	labelName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$`)
	status    = regexp.MustCompile(`^(0|[1-5][0-9][0-9]|other)$`)
)

const allowed = "lower-case letters, digits and dashes are allowed, up to "

func (r *reader) scenario(n *yaml.Node, s *Scenario) {
	r.Mapping(n, "the scenario", yamlfile.Fields{
		"name": func(n *yaml.Node) {
			s.Name = r.Name(n, "name", title, "letters, digits, dots and dashes are allowed, up to 64")
		},
		"strategy": func(n *yaml.Node) { s.Strategy = r.strategy(n) },
		"period":   func(n *yaml.Node) { s.Period = r.Duration(n, "period", MinPeriod, MaxPeriod) },
		"warmup":   func(n *yaml.Node) { s.Warmup = r.Duration(n, "warmup", 0, 10*time.Minute) },
		"seed":     func(n *yaml.Node) { s.Seed = uint64(r.Whole(n, "seed", 0, 1e9)) },
		"network":  func(n *yaml.Node) { r.network = r.networkKind(n) },
		"topology": r.topology,
		"links":    r.links,
		"scope":    r.scope,
		"mdns": func(n *yaml.Node) {
			if s.MDNS = r.Boolean(n, "mdns"); s.MDNS {
				r.mdnsLine = n.Line
			}
		},
		"default_maxrate": func(n *yaml.Node) { s.DefaultMaxrate = r.Number(n, "default_maxrate", 0.001, limit.MaxRate) },
		"tls":             func(n *yaml.Node) { s.TLS = r.Boolean(n, "tls") },
		"fast_path":       func(n *yaml.Node) { s.FastPath, r.fastPathLine = r.Boolean(n, "fast_path"), n.Line },
		"nodes": func(n *yaml.Node) {
			r.List(n, "nodes", r.limits.Nodes, func(n *yaml.Node) { s.Nodes = append(s.Nodes, r.node(n)) })
		},
		"load": func(n *yaml.Node) {
			r.List(n, "load", r.limits.Loads, func(n *yaml.Node) { s.Loads = append(s.Loads, r.load(n)...) })
		},
		"faults": func(n *yaml.Node) {
			r.List(n, "faults", MaxFaults, func(n *yaml.Node) { s.Faults = append(s.Faults, r.fault(n)) })
		},
		"expect": func(n *yaml.Node) {
			r.List(n, "expect", MaxExpect, func(n *yaml.Node) { s.Expect = append(s.Expect, r.expectation(n)) })
		},
	}, "name", "nodes")
}

// decideNetwork decides whether nodes get networks of their own.
func (r *reader) decideNetwork(s *Scenario) {
	needs := ""
	switch {
	case slices.ContainsFunc(s.Faults, func(f Fault) bool { return f.Do.onNetwork() }):
		needs = "cannot be parted"
	case s.shaped():
		needs = "have no links with a delay, a rate and the like, nor such that go down"
	case s.MDNS:
		needs = "cannot find each other by mDNS"
	}
	s.Namespaces = needs != "" || r.network == namespaces
	if needs != "" && r.network == loopback {
		r.Refuse(max(1, r.mdnsLine), "network: nodes on the loopback interface %s: say %s, or nothing", needs, namespaces)
	}
}

// What network may be.
const (
	loopback   = "loopback"
	namespaces = "namespaces"
)

func (r *reader) networkKind(n *yaml.Node) string {
	kind := r.Text(n, "network")
	if kind != loopback && kind != namespaces {
		r.Refuse(n.Line, "network: %s or %s is expected, not %q", loopback, namespaces, yamlfile.Clip(kind))
	}
	return kind
}

func (r *reader) strategy(n *yaml.Node) string {
	name := r.Text(n, "strategy")
	if _, err := strategy.New(name); err != nil {
		r.Refuse(n.Line, "%v", err)
	}
	return name
}

func (r *reader) node(n *yaml.Node) Node {
	node := Node{Line: n.Line}
	r.Mapping(n, "a node", yamlfile.Fields{
		"name":         func(n *yaml.Node) { node.Name = r.Name(n, "node name", nodeName, allowed+"32") },
		"strategy":     func(n *yaml.Node) { node.Strategy = r.strategy(n) },
		"gateway":      func(n *yaml.Node) { node.Gateway = r.gateway(n) },
		"gateway_user": func(n *yaml.Node) { node.GatewayUser = r.Text(n, "gateway_user") },
		"gateway_password_file": func(n *yaml.Node) {
			node.GatewayPasswordFile = r.Text(n, "gateway_password_file")
		},
		"cpus":   func(n *yaml.Node) { node.CPUs = r.Number(n, "cpus", 0.01, 1024) },
		"memory": func(n *yaml.Node) { node.Memory = refused(r, n, "memory", parseMemory) },
		"functions": func(n *yaml.Node) {
			r.List(n, "functions", MaxFunctions, func(n *yaml.Node) {
				node.Functions = append(node.Functions, r.function(n))
			})
		},
	}, "name")
	if node.Gateway == "" && (node.GatewayUser != "" || node.GatewayPasswordFile != "") {
		r.Refuse(n.Line, "node %s has gateway credentials but no gateway", node.Name)
	}
	for _, f := range node.Functions {
		r.deployment(node, f)
	}
	return node
}

// deployment checks that the function says what to run where the emulator
// deploys it, and says nothing where it does not.
func (r *reader) deployment(node Node, f Function) {
	given := f.Image != "" || f.Process != ""
	settings := f.Mode != "" || f.Maxrate != nil || f.TimeoutMillis != 0 || f.Env != nil || f.Labels != nil
	switch {
	case node.Gateway != "" && (given || settings):
		r.Refuse(f.Line, "function %s: node %s has its own gateway, where functions are not deployed but expected: "+
			"give the name only", f.Name, node.Name)
	case node.Gateway == "" && !given:
		r.Refuse(f.Line, "function %s has neither image nor process", f.Name)
	case f.Image != "" && f.Process != "":
		r.Refuse(f.Line, "function %s has an image and a process: give one", f.Name)
	}
}

func (r *reader) gateway(n *yaml.Node) string {
	text := r.Text(n, "gateway")
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" || u.Hostname() == "" || u.User != nil || strings.TrimRight(u.Path, "/") != "" || u.RawQuery != "" {
		r.Refuse(n.Line, "gateway: a URL like http://10.0.0.7:8080 is expected, not %q", yamlfile.Clip(text))
	}
	return strings.TrimRight(text, "/")
}

func (r *reader) function(n *yaml.Node) Function {
	f := Function{Line: n.Line}
	r.Mapping(n, "a function", yamlfile.Fields{
		"name":    func(n *yaml.Node) { f.Name = r.Name(n, "function name", label, allowed+"63") },
		"image":   func(n *yaml.Node) { f.Image = r.Text(n, "image") },
		"process": func(n *yaml.Node) { f.Process = r.Text(n, "process") },
		"mode":    func(n *yaml.Node) { f.Mode = r.Text(n, "mode") },
		"maxrate": func(n *yaml.Node) {
			rate := r.Number(n, "maxrate", 0, limit.MaxRate)
			f.Maxrate = &rate
		},
		"timeout_ms": func(n *yaml.Node) { f.TimeoutMillis = r.Whole(n, "timeout_ms", 1, limit.MaxTimeoutMillis) },
		"env":        func(n *yaml.Node) { f.Env = r.Texts(n, "env", variable.MatchString) },
		"labels":     func(n *yaml.Node) { f.Labels = r.Texts(n, "labels", labelName.MatchString) },
	}, "name")
	return f
}

func (r *reader) headers(n *yaml.Node) map[string]string {
	values := r.Texts(n, "headers", header.MatchString)
	for name, value := range values {
		if strings.ContainsAny(value, "\r\n") {
			r.Refuse(n.Line, "header %s: its value must be one line", name)
		}
	}
	return values
}

func (r *reader) fault(n *yaml.Node) Fault {
	f := Fault{Line: n.Line}
	fields := r.linkFields(&f.given)
	maps.Copy(fields, yamlfile.Fields{
		"at":       func(n *yaml.Node) { f.At = r.Duration(n, "at", 0, MaxLasting) },
		"do":       func(n *yaml.Node) { f.Do = refused(r, n, "do", ParseAction) },
		"node":     func(n *yaml.Node) { f.Node = r.Text(n, "node") },
		"part":     func(n *yaml.Node) { f.Part = refused(r, n, "part", ParsePart) },
		"between":  func(n *yaml.Node) { f.Between = r.pair(n) },
		"duration": func(n *yaml.Node) { f.Duration = r.Duration(n, "duration", time.Millisecond, MaxLasting) },
		"nodes": func(n *yaml.Node) {
			r.List(n, "nodes", r.limits.Nodes, func(n *yaml.Node) { f.Nodes = append(f.Nodes, r.Text(n, "nodes")) })
		},
	})
	r.Mapping(n, "a fault", fields, "at", "do")
	switch {
	case f.Do == "":
	case f.Do.OnLink():
		r.linkFault(n, &f)
		return f
	case f.Between != [2]string{} || len(f.given) > 0:
		r.Refuse(n.Line, "%s is not done to a link: between, delay, jitter, rate and loss are for link, link-down and link-up", f.Do)
	case f.Do.onNetwork():
		r.parting(n, &f)
	case f.Node == "" || f.Part == "" || len(f.Nodes) > 0:
		r.Refuse(n.Line, "%s needs a node and a part", f.Do)
	default:
		if err := CheckFault(f.Do, f.Part); err != nil {
			r.Refuse(n.Line, "%v", err)
		}
	}
	if f.Duration != 0 && f.Do != Kill && f.Do != Stop && f.Do != Partition {
		r.Refuse(n.Line, "duration: only kill, stop and partition last, %s does not", f.Do)
	}
	return f
}

// parting checks a partition or what ends it; one node is a list of one.
func (r *reader) parting(n *yaml.Node, f *Fault) {
	if f.Part != "" {
		r.Refuse(n.Line, "part: %s is done to whole nodes", f.Do)
	}
	if f.Node != "" {
		if len(f.Nodes) > 0 {
			r.Refuse(n.Line, "%s has node and nodes: give one", f.Do)
		}
		f.Node, f.Nodes = "", []string{f.Node}
	}
	if f.Do == Partition && len(f.Nodes) == 0 {
		r.Refuse(n.Line, "partition needs a node, or nodes, to cut off from the others")
	}
}

// refused reads a text with a parser of its own.
func refused[T any](r *reader, n *yaml.Node, what string, parse func(string) (T, error)) T {
	value, err := parse(r.Text(n, what))
	if err != nil {
		r.Refuse(n.Line, "%s: %v", what, err)
	}
	return value
}

func (r *reader) expectation(n *yaml.Node) Expectation {
	e := Expectation{Line: n.Line}
	r.Mapping(n, "an expectation", yamlfile.Fields{
		"load":    func(n *yaml.Node) { e.Load = int(r.Whole(n, "load", 1, float64(r.limits.Loads))) },
		"from":    func(n *yaml.Node) { e.From = r.Duration(n, "from", 0, MaxLasting) },
		"to":      func(n *yaml.Node) { e.To = r.Duration(n, "to", time.Second, MaxLasting) },
		"status":  func(n *yaml.Node) { e.Status = r.intervals(n, "status", status.MatchString) },
		"by_node": func(n *yaml.Node) { e.ByNode = r.intervals(n, "by_node", label.MatchString) },
	})
	if len(e.Status)+len(e.ByNode) == 0 {
		r.Refuse(n.Line, "an expectation needs status or by_node, or both")
	}
	return e
}

func (r *reader) intervals(n *yaml.Node, what string, check func(string) bool) map[string]Range {
	values := make(map[string]Range)
	r.Pairs(n, what, func(key string, k, v *yaml.Node) {
		if !check(key) {
			r.Refuse(k.Line, "%s: %q is not allowed here", what, yamlfile.Clip(key))
			return
		}
		values[key] = r.interval(v, what+" "+key)
	})
	return values
}
