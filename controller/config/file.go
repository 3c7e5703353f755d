package config

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dfaas/dfaas/internal/spelling"
	"github.com/dfaas/dfaas/internal/yamlfile"
)

// maxFile bounds a configuration file, bytes.
const maxFile = 1 << 20

// readFile applies the file at path to c.
func readFile(path string, c *Config) error {
	data, err := yamlfile.Read(path, maxFile)
	if err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	return parseFile(path, data, c)
}

// parseFile applies a YAML document to c. It reports every fault it finds,
// each as name:line: key: what is wrong.
func parseFile(name string, data []byte, c *Config) error {
	r := yamlfile.New(name)
	root := r.Document(data, maxFile)
	if root == nil || root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return r.Err() // nothing is written, which is fine
	}
	known := map[string]option{}
	for _, o := range options() {
		known[o.key] = o
	}
	r.Pairs(root, "the configuration", func(key string, k, v *yaml.Node) {
		o, ok := known[key]
		if !ok {
			r.Refuse(k.Line, "%s: %v", yamlfile.Clip(key), unknown(key))
			return
		}
		values, err := scalars(v)
		if err == nil && v.Kind == yaml.SequenceNode && o.kind() != kindList {
			err = errors.New("takes one value, not a list")
		}
		if err == nil {
			err = o.set(c, values)
		}
		if err != nil {
			r.Refuse(k.Line, "%s: %v", key, err)
		}
	})
	return r.Err()
}

// scalars returns the values that a YAML node holds.
func scalars(n *yaml.Node) ([]string, error) {
	switch n.Kind {
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return nil, errors.New("has no value: give one, or remove the line to have the default")
		}
		return []string{n.Value}, nil
	case yaml.SequenceNode:
		values := make([]string, 0, len(n.Content))
		for _, item := range n.Content {
			item = yamlfile.Resolve(item)
			if item.Kind != yaml.ScalarNode || item.Tag == "!!null" {
				return nil, fmt.Errorf("the item in line %d is not a plain value", item.Line)
			}
			values = append(values, item.Value)
		}
		return values, nil
	default:
		return nil, errors.New("takes a plain value or a list of them")
	}
}

// unknown says that there is no such key, and which one was probably meant.
func unknown(key string) error {
	if near := spelling.Nearest(strings.ToLower(strings.ReplaceAll(key, "-", "_")), keys()); near != "" {
		return fmt.Errorf("no such option: did you mean %s?", near)
	}
	return errors.New("no such option: see dfaas-controller --help")
}

func keys() []string {
	var all []string
	for _, o := range options() {
		all = append(all, o.key)
	}
	return all
}
