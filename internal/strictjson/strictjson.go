// Package strictjson closes the gaps of encoding/json for documents from
// outside: names given twice, names that match only when case is ignored, and
// data after the document.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Unmarshal decodes one JSON document into v. It refuses unknown fields, a name
// that occurs twice in one object, names with anything but a-z, 0-9, "_", "-"
// and "." in them, and trailing data. Field names of v must be of those
// characters.
func Unmarshal(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return readable(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("data after the end of the document")
	}
	return CheckNames(data)
}

func readable(err error) error {
	var typ *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the document is empty or cut short")
	case errors.As(err, &typ):
		return fmt.Errorf("field %q: %s is not a %s", typ.Field, typ.Value, typ.Type)
	}
	return err
}

// CheckNames reports the first name in a JSON document that is not made of
// a-z, 0-9, "_", "-" and "." or that occurs twice in one object. The document
// must be valid JSON.
func CheckNames(data []byte) error {
	s := scanner{data: data}
	return s.scan()
}

// scanner walks over the strings and brackets of a valid document. Two objects
// of the same depth never overlap, so one map for each depth, from a name to
// the object that had it last, finds what occurs twice.
type scanner struct {
	data   []byte
	pos    int
	open   []int            // enclosing values: number of the object, or 0 for an array
	number int              // of objects so far
	last   []map[string]int // by depth
}

func (s *scanner) scan() error {
	expectName := false
	for ; s.pos < len(s.data); s.pos++ {
		switch s.data[s.pos] {
		case '{':
			s.number++
			s.open = append(s.open, s.number)
			expectName = true
		case '[':
			s.open = append(s.open, 0)
			expectName = false
		case '}', ']':
			s.open = s.open[:len(s.open)-1]
			expectName = false
		case ':':
			expectName = false
		case ',':
			expectName = len(s.open) > 0 && s.open[len(s.open)-1] != 0
		case '"':
			text := s.text()
			if !expectName {
				continue
			}
			if err := s.name(text); err != nil {
				return err
			}
		}
	}
	return nil
}

// text moves to the closing quote and returns what is between.
func (s *scanner) text() []byte {
	start := s.pos + 1
	for s.pos = start; s.data[s.pos] != '"'; s.pos++ {
		if s.data[s.pos] == '\\' {
			s.pos++
		}
	}
	return s.data[start:s.pos]
}

func (s *scanner) name(name []byte) error {
	for _, c := range name {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.') {
			return fmt.Errorf("field %.80q: names are made of a-z, 0-9, _, - and . only", name)
		}
	}
	depth := len(s.open)
	for len(s.last) <= depth {
		s.last = append(s.last, make(map[string]int))
	}
	object := s.open[depth-1]
	if s.last[depth][string(name)] == object {
		return fmt.Errorf("field %.80q occurs twice in one object", name)
	}
	s.last[depth][string(name)] = object
	return nil
}
