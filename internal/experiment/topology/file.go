package topology

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dfaas/dfaas/internal/clip"
)

// MaxFile bounds a file of links, bytes.
const MaxFile = 16 << 20

// Read reads a topology from a file of links between nodes of these names: CSV or
// GraphML, by its name. Links are like the given one where the file does not say
// otherwise. An error has the file, the line and the reason.
func Read(path string, nodes []string, like Link) (*Topology, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the links: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading the links: %w", err)
	}
	return Parse(path, data, nodes, like)
}

// Parse is Read for the text of a file of that name.
func Parse(name string, data []byte, nodes []string, like Link) (*Topology, error) {
	f := &file{name: name, index: make(map[string]int, len(nodes)), lines: make(map[[2]int]int), like: like}
	for i, n := range nodes {
		f.index[n] = i
	}
	if len(data) > MaxFile {
		return nil, f.refuse(1, "the file is larger than %d bytes", MaxFile)
	}
	var err error
	switch filepath.Ext(name) {
	case ".csv":
		err = f.csv(data)
	case ".graphml":
		err = f.graphML(data)
	default:
		err = f.refuse(1, "the name of a file of links ends with .csv or .graphml")
	}
	if err != nil {
		return nil, err
	}
	if len(f.edges) == 0 {
		return nil, f.refuse(1, "there are no links")
	}
	t, err := Of(len(nodes), f.edges)
	if err != nil {
		return nil, f.refuse(1, "%v", err)
	}
	return t, nil
}

// file is one that is being read.
type file struct {
	name  string
	index map[string]int // of nodes, by name
	like  Link
	edges []Edge
	lines map[[2]int]int // of links, by their nodes
}

func (f *file) refuse(line int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", f.name, line, fmt.Sprintf(format, args...))
}

// add adds the link of a line; its properties are as they are written, "" where they
// are not.
func (f *file) add(line int, from, to string, properties map[string]string) error {
	a, ok := f.index[from]
	if !ok {
		return f.refuse(line, "there is no node %q", clip.Text(from))
	}
	b, ok := f.index[to]
	switch {
	case !ok:
		return f.refuse(line, "there is no node %q", clip.Text(to))
	case a == b:
		return f.refuse(line, "%s is linked to itself", from)
	case len(f.edges) == MaxEdges:
		return f.refuse(line, "more than %d links", MaxEdges)
	}
	pair := [2]int{min(a, b), max(a, b)}
	if before, there := f.lines[pair]; there {
		return f.refuse(line, "%s and %s are linked in line %d already: a link is for both directions", from, to, before)
	}
	f.lines[pair] = line
	e := Edge{pair[0], pair[1], f.like}
	for _, name := range Properties() {
		if text := properties[name]; text != "" {
			if err := e.Set(name, text); err != nil {
				return f.refuse(line, "%v", err)
			}
		}
	}
	if err := e.Check(); err != nil {
		return f.refuse(line, "%v", err)
	}
	f.edges = append(f.edges, e)
	return nil
}

// csv reads two nodes a line, and the properties that the first line names behind
// source and target.
func (f *file) csv(data []byte) error {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff")))) // as some spreadsheets begin a file
	r.FieldsPerRecord, r.TrimLeadingSpace, r.Comment, r.ReuseRecord = -1, true, '#', true
	header := []string{"source", "target"}
	for first := true; ; first = false {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var malformed *csv.ParseError
		if errors.As(err, &malformed) {
			return f.refuse(malformed.Line, "not CSV: %v", malformed.Err)
		} else if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		line, _ := r.FieldPos(0)
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
		if first && len(row) >= 2 && row[0] == "source" && row[1] == "target" {
			for i, name := range row[2:] {
				if !slices.Contains(Properties(), name) || slices.Contains(row[2:2+i], name) {
					return f.refuse(line, "column %q: behind source and target, each of %s may be named once", clip.Text(name), strings.Join(Properties(), ", "))
				}
			}
			header = slices.Clone(row)
			continue
		}
		if len(row) != len(header) {
			return f.refuse(line, "%d columns, and not %s; a first line source,target,delay,jitter,rate,loss names more", len(row), strings.Join(header, ","))
		}
		properties := make(map[string]string)
		for i := 2; i < len(row); i++ {
			properties[header[i]] = row[i]
		}
		if err := f.add(line, row[0], row[1], properties); err != nil {
			return err
		}
	}
}
