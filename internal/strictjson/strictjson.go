// Package strictjson closes the gaps of encoding/json for documents from
// outside: names given twice, names that match only when case is ignored, and
// data after the document.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/dfaas/dfaas/internal/clip"
)

// Unmarshal decodes one JSON document into v. It refuses unknown fields and
// whatever Lenient refuses.
func Unmarshal(data []byte, v any) error {
	ignored, err := Lenient(data, v)
	if err == nil && ignored != "" {
		err = fmt.Errorf("unknown field %q", ignored)
	}
	return err
}

// Lenient decodes one JSON document into v, as documents are read that a newer
// program may have written: fields that v does not have are ignored, and the
// first of them is returned, "" if there is none. It refuses a name that occurs
// twice in one object, names with anything but letters, digits, "_", "-" and "."
// in them, names that are a field's but for their case, and trailing data.
func Lenient(data []byte, v any) (ignored string, err error) {
	return NewReader(v).Read(data, v)
}

// Reader is Lenient for many documents of one type.
type Reader struct{ shape *shape }

// NewReader returns a reader of documents for values of v's type.
func NewReader(v any) *Reader { return &Reader{shapeOf(v)} }

// Read is Lenient for a v of the reader's type.
func (r *Reader) Read(data []byte, v any) (ignored string, err error) {
	if err := json.Unmarshal(data, v); err != nil {
		return "", readable(err)
	}
	s := scanner{data: data, shapes: []*shape{r.shape}}
	err = s.scan()
	return s.ignored, err
}

func readable(err error) error {
	var typ *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &typ):
		return fmt.Errorf("field %q: %s is not a %s", typ.Field, typ.Value, typ.Type)
	case !errors.As(err, &syntax):
		return err
	case strings.HasPrefix(syntax.Error(), "unexpected end"):
		return errCutShort
	case strings.HasSuffix(syntax.Error(), "after top-level value"):
		return errAfterEnd
	}
	return err
}

var (
	errCutShort = errors.New("the document is empty or cut short")
	errAfterEnd = errors.New("data after the end of the document")
)

// scanner walks over the strings and brackets of a valid document. Two objects
// of the same depth never overlap, so one map for each depth, from a name to
// the object that had it last, finds what occurs twice.
type scanner struct {
	data    []byte
	pos     int
	open    []int            // enclosing values: number of the object, or 0 for an array
	number  int              // of objects so far
	last    []map[string]int // by depth
	shapes  []*shape         // of the document, the enclosing values, and the next value
	ignored string           // the first unknown name
}

func (s *scanner) scan() error {
	expectName := false
	for ; s.pos < len(s.data); s.pos++ {
		switch s.data[s.pos] {
		case '{':
			s.number++
			s.enter(s.number)
			expectName = true
		case '[':
			s.enter(0)
			expectName = false
		case '}', ']':
			s.open = s.open[:len(s.open)-1]
			s.shapes = s.shapes[:len(s.open)+1]
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

// enter goes into an object or, with number 0, an array. The shape of what is
// directly inside an array or a map is known at once, that of a struct's field
// when its name has been read.
func (s *scanner) enter(number int) {
	s.open = append(s.open, number)
	s.shapes = append(s.shapes, s.shapes[len(s.shapes)-1].element())
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
	if len(name) == 0 {
		return errors.New("a field has no name")
	}
	for _, c := range name {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.') {
			return fmt.Errorf("field %.80q: names are made of letters, digits, _, - and . only", name)
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
	return s.field(name)
}

// field finds the shape of the value that follows a name.
func (s *scanner) field(name []byte) error {
	in := s.shapes[len(s.shapes)-2]
	if in == nil || in.fields == nil {
		return nil
	}
	next, known := in.fields[string(name)]
	if !known {
		for field := range in.fields {
			if len(field) == len(name) && bytes.EqualFold([]byte(field), name) {
				return fmt.Errorf("field %.80q: it is written %q", name, field)
			}
		}
		if s.ignored == "" {
			s.ignored = clip.Text(string(name))
		}
	}
	s.shapes[len(s.shapes)-1] = next
	return nil
}
