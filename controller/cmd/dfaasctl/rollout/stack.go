package rollout

import (
	"fmt"

	"github.com/openfaas/faas-provider/types"
	"go.yaml.in/yaml/v3"

	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/internal/yamlfile"
)

// Bounds of a stack file.
const (
	maxStack  = 1 << 20 // bytes
	maxListed = 1000    // functions, and whatever else is listed
)

// ReadStack returns the functions of an OpenFaaS stack file (stack.yaml), in its order.
// What it says of building images is passed over; what would change how a function
// runs and is not understood is refused, with file and line.
func ReadStack(path string) ([]types.FunctionDeployment, error) {
	data, err := yamlfile.Read(path, maxStack)
	if err != nil {
		return nil, err
	}
	s := stack{yamlfile.New(path), nil}
	ignore := func(*yaml.Node) {}
	if root := s.Document(data, maxStack); root != nil {
		s.Mapping(root, "stack file", yamlfile.Fields{
			"version": ignore, "provider": ignore, "configuration": ignore,
			"functions": s.readFunctions,
		}, "functions")
	} else if s.Err() == nil {
		s.Refuse(1, "the file is empty")
	}
	return s.functions, s.Err()
}

type stack struct {
	yamlfile.Reader
	functions []types.FunctionDeployment
}

func (s *stack) readFunctions(n *yaml.Node) {
	s.Pairs(n, "functions", func(name string, k, v *yaml.Node) {
		if len(s.functions) == maxListed {
			s.Refuse(k.Line, "more than %d functions", maxListed)
			return
		}
		if err := faasd.CheckLabel("function name", name); err != nil {
			s.Refuse(k.Line, "%v", err)
			return
		}
		s.functions = append(s.functions, s.function(name, v))
	})
}

func (s *stack) function(name string, n *yaml.Node) types.FunctionDeployment {
	f := types.FunctionDeployment{Service: name}
	build := func(*yaml.Node) {}
	text := func(to *string, what string) func(*yaml.Node) {
		return func(n *yaml.Node) { *to = s.Text(n, what) }
	}
	texts := func(what string, set func(map[string]string)) func(*yaml.Node) {
		return func(n *yaml.Node) { set(s.Texts(n, what, func(string) bool { return true })) }
	}
	list := func(to *[]string, what string) func(*yaml.Node) {
		return func(n *yaml.Node) {
			s.List(n, what, maxListed, func(n *yaml.Node) { *to = append(*to, s.Text(n, what)) })
		}
	}
	resources := func(to **types.FunctionResources, what string) func(*yaml.Node) {
		return func(n *yaml.Node) {
			*to = new(types.FunctionResources)
			s.Mapping(n, what, yamlfile.Fields{"memory": text(&(*to).Memory, "memory"), "cpu": text(&(*to).CPU, "cpu")})
		}
	}
	s.Mapping(n, fmt.Sprintf("function %s", name), yamlfile.Fields{
		"image":       text(&f.Image, "image"),
		"namespace":   text(&f.Namespace, "namespace"),
		"fprocess":    text(&f.EnvProcess, "fprocess"),
		"environment": texts("environment", func(m map[string]string) { f.EnvVars = m }),
		"labels":      texts("labels", func(m map[string]string) { f.Labels = &m }),
		"annotations": texts("annotations", func(m map[string]string) { f.Annotations = &m }),
		"secrets":     list(&f.Secrets, "secrets"),
		"constraints": list(&f.Constraints, "constraints"),
		"limits":      resources(&f.Limits, "limits"),
		"requests":    resources(&f.Requests, "requests"),
		"readonly_root_filesystem": func(n *yaml.Node) {
			f.ReadOnlyRootFilesystem = s.Boolean(n, "readonly_root_filesystem")
		},
		"lang": build, "handler": build, "build_args": build, "build_options": build, "build_secrets": build,
		"skip_build": build, "copy": build, "publish": build, "platforms": build,
	}, "image")
	if f.Namespace != "" {
		if err := faasd.CheckLabel("namespace", f.Namespace); err != nil {
			s.Refuse(n.Line, "function %s: %v", name, err)
		}
	}
	return f
}
