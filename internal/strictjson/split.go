package strictjson

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// splitBuffer is how many bytes Split reads at once.
const splitBuffer = 64 << 10

// Split reads an object from a reader without keeping its long lists: each element of a
// list is handed over as it comes, and must not be kept. lists are those, by name. It
// returns the rest of the object, with such lists replaced by null, and a value that is
// no list where it was.
//
// It tells where values begin and end, and nothing else: elements and the rest may be no
// JSON at all, which Lenient finds. Together they refuse what Lenient refuses in the whole,
// but for names written with escapes, which are no list's. An error of the reader or of
// a list is wrapped.
func Split(r io.Reader, lists map[string]func(element []byte) error) (rest []byte, err error) {
	s := splitter{r: bufio.NewReaderSize(r, splitBuffer), lists: lists}
	if err := s.document(); err != nil {
		return nil, err
	}
	return s.rest, nil
}

type splitter struct {
	r     *bufio.Reader
	lists map[string]func([]byte) error
	rest  []byte
	value []byte // the last one read, kept for its memory
}

// peek returns the next byte that is no white space, and leaves it there.
func (s *splitter) peek() (byte, error) {
	for {
		c, err := s.r.ReadByte()
		if errors.Is(err, io.EOF) {
			return 0, errCutShort
		}
		if err != nil {
			return 0, err
		}
		switch c {
		case ' ', '\t', '\n', '\r':
		default:
			return c, s.r.UnreadByte()
		}
	}
}

// take reads the next byte that is no white space.
func (s *splitter) take() (byte, error) {
	c, err := s.peek()
	if err == nil {
		_, err = s.r.Discard(1)
	}
	return c, err
}

func (s *splitter) document() error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	if c == '{' {
		err = s.object()
	} else if err = s.next(); err == nil {
		s.rest = append(s.rest, s.value...)
	}
	if err != nil {
		return err
	}
	switch _, err := s.peek(); {
	case errors.Is(err, errCutShort):
		return nil
	case err != nil:
		return err
	}
	return errAfterEnd
}

func (s *splitter) object() error {
	_, _ = s.take() // the bracket
	s.rest = append(s.rest, '{')
	c, err := s.peek()
	if err == nil && c == '}' {
		_, err = s.take()
		s.rest = append(s.rest, '}')
		return err
	}
	for err == nil {
		if err = s.member(); err == nil {
			c, err = s.take()
		}
		switch {
		case err != nil:
		case c == '}':
			s.rest = append(s.rest, '}')
			return nil
		case c != ',':
			return fmt.Errorf("invalid character %q after a value of the document", c)
		default:
			s.rest = append(s.rest, ',')
		}
	}
	return err
}

// member reads a name and what it stands for.
func (s *splitter) member() error {
	if err := s.next(); err != nil {
		return err
	}
	name := s.value
	s.rest = append(append(s.rest, name...), ':')
	var list func([]byte) error
	if len(name) >= 2 {
		list = s.lists[string(name[1:len(name)-1])]
	}
	c, err := s.take()
	if err == nil && c != ':' {
		err = fmt.Errorf("invalid character %q after a name", c)
	}
	if err == nil {
		c, err = s.peek()
	}
	switch {
	case err != nil:
		return err
	case list != nil && c == '[':
		s.rest = append(s.rest, "null"...)
		return s.list(list)
	}
	err = s.next()
	s.rest = append(s.rest, s.value...)
	return err
}

func (s *splitter) list(element func([]byte) error) error {
	_, _ = s.take() // the bracket
	c, err := s.peek()
	if err == nil && c == ']' {
		_, err = s.take()
		return err
	}
	for err == nil {
		if err = s.next(); err == nil {
			err = element(s.value)
		}
		if err == nil {
			c, err = s.take()
		}
		switch {
		case err != nil:
		case c == ']':
			return nil
		case c != ',':
			return fmt.Errorf("invalid character %q after an element of a list", c)
		}
	}
	return err
}

// next reads a value, as far as brackets, quotes, commas and white space tell.
func (s *splitter) next() error {
	s.value = s.value[:0]
	if _, err := s.peek(); err != nil {
		return err
	}
	v := valueScanner{}
	for !v.over {
		there, err := s.r.Peek(max(1, s.r.Buffered()))
		if errors.Is(err, io.EOF) {
			if v.depth > 0 || v.inText {
				return errCutShort
			}
			break
		}
		if err != nil {
			return err
		}
		n := v.scan(there)
		s.value = append(s.value, there[:n]...)
		if _, err := s.r.Discard(n); err != nil {
			return err
		}
	}
	if len(s.value) == 0 {
		return errors.New("a value is missing")
	}
	return nil
}

// valueScanner finds the end of a value in what comes piece by piece.
type valueScanner struct {
	depth           int
	inText, escaped bool
	over            bool
}

// scan returns how many of the bytes belong to the value.
func (v *valueScanner) scan(data []byte) int {
	for i, c := range data {
		switch {
		case v.escaped:
			v.escaped = false
		case v.inText:
			v.escaped = c == '\\'
			if c == '"' {
				v.inText, v.over = false, v.depth == 0
			}
		case c == '"':
			v.inText = true
		case c == '{' || c == '[':
			v.depth++
		case c == '}' || c == ']':
			if v.depth == 0 {
				v.over = true
				return i
			}
			v.depth--
			v.over = v.depth == 0
		case v.depth == 0 && (c == ',' || c == ':' || c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			v.over = true
			return i
		}
		if v.over {
			return i + 1
		}
	}
	return len(data)
}
