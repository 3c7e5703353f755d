package topology

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/dfaas/dfaas/internal/clip"
)

// graphML reads the edges of the graph in a GraphML file (http://graphml.graphdrawing.org),
// as networkx, yEd and the like write it: nodes are known by their ids, and the
// properties of links are data whose keys have their names. Directions, and whatever
// else there is, do not matter.
func (f *file) graphML(data []byte) error {
	g := graph{keys: make(map[string]string), defaults: make(map[string]string)}
	d := xml.NewDecoder(bytes.NewReader(data))
	for {
		line, _ := d.InputPos()
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			if !g.seen {
				return f.refuse(1, "not GraphML: there is no graph")
			}
			return nil
		}
		var malformed *xml.SyntaxError
		if errors.As(err, &malformed) {
			return f.refuse(max(1, malformed.Line), "not XML: %q", clip.Text(malformed.Msg))
		} else if err != nil {
			return f.refuse(line, "not XML: %q", clip.Text(err.Error()))
		}
		if err := g.take(f, line, token); err != nil {
			return err
		}
	}
}

// graph is what was read of one.
type graph struct {
	depth      int
	seen       bool
	keys       map[string]string // names of properties, by key
	defaults   map[string]string // by name
	from, to   string            // of the edge that is being read
	line       int
	inEdge     bool
	key        string // in a key
	data       string // in data of an edge: the name of the property
	text       strings.Builder
	properties map[string]string
}

// maxDepth bounds how deep elements are nested: a graph in a node of a graph is none
// that makes sense here.
const maxDepth = 32

// maxText bounds a value, bytes.
const maxText = 1000

func (g *graph) take(f *file, line int, token xml.Token) error {
	switch t := token.(type) {
	case xml.StartElement:
		if g.depth++; g.depth > maxDepth {
			return f.refuse(line, "elements are nested more than %d deep", maxDepth)
		}
		if g.depth == 1 && t.Name.Local != "graphml" {
			return f.refuse(line, "not GraphML: it begins with %q", clip.Text(t.Name.Local))
		}
		return g.start(f, line, t)
	case xml.EndElement:
		g.depth--
		return g.end(f, t.Name.Local)
	case xml.CharData:
		if g.text.Len()+len(t) <= maxText {
			g.text.Write(t)
		}
	}
	return nil
}

func (g *graph) start(f *file, line int, t xml.StartElement) error {
	g.text.Reset()
	attribute := func(name string) string {
		for _, a := range t.Attr {
			if a.Name.Local == name {
				return a.Value
			}
		}
		return ""
	}
	switch t.Name.Local {
	case "graph":
		if g.seen {
			return f.refuse(line, "more than one graph")
		}
		g.seen = true
	case "key":
		g.key = ""
		name := strings.ToLower(attribute("attr.name"))
		if kind := attribute("for"); slices.Contains(Properties(), name) && (kind == "edge" || kind == "all") {
			g.keys[attribute("id")], g.key = name, name
		}
	case "hyperedge":
		return f.refuse(line, "a hyperedge has more than two ends: use edges")
	case "node":
		if id := attribute("id"); g.seen {
			if _, known := f.index[id]; !known {
				return f.refuse(line, "there is no node %q", clip.Text(id))
			}
		}
	case "edge":
		if g.inEdge {
			return f.refuse(line, "an edge in an edge")
		}
		g.inEdge, g.line, g.from, g.to, g.properties = true, line, attribute("source"), attribute("target"), make(map[string]string)
	case "data":
		g.data = ""
		if g.inEdge {
			g.data = g.keys[attribute("key")]
		}
	}
	return nil
}

func (g *graph) end(f *file, name string) error {
	text := strings.TrimSpace(g.text.String())
	switch name {
	case "default":
		if g.key != "" {
			g.defaults[g.key] = text
		}
	case "key":
		g.key = ""
	case "data":
		if g.inEdge && g.data != "" {
			g.properties[g.data] = text
		}
		g.data = ""
	case "edge":
		g.inEdge = false
		for name, text := range g.defaults {
			if g.properties[name] == "" {
				g.properties[name] = text
			}
		}
		return f.add(g.line, g.from, g.to, g.properties)
	}
	return nil
}
