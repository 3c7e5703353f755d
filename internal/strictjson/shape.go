package strictjson

import (
	"encoding/json"
	"reflect"
	"strings"
)

// shape is what a Go type says of the names in a JSON value. A nil shape says
// nothing: of a value that is ignored, or that a type reads by itself.
type shape struct {
	fields map[string]*shape // of a struct; nil for all else
	inside *shape            // of the elements of a slice, an array or a map
}

// element is the shape of what is directly inside, as far as it has no name.
func (s *shape) element() *shape {
	if s == nil {
		return nil
	}
	return s.inside
}

func shapeOf(v any) *shape { return make(shapes).of(reflect.TypeOf(v)) }

// shapes are those made so far, so that a type may contain itself.
type shapes map[reflect.Type]*shape

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

func (all shapes) of(t reflect.Type) *shape {
	for t != nil && t.Kind() == reflect.Pointer {
		if t.Implements(unmarshaler) {
			return nil
		}
		t = t.Elem()
	}
	if t == nil || reflect.PointerTo(t).Implements(unmarshaler) {
		return nil
	}
	if s, made := all[t]; made {
		return s
	}
	switch t.Kind() {
	case reflect.Slice, reflect.Array, reflect.Map:
		s := new(shape)
		all[t] = s
		s.inside = all.of(t.Elem())
		return s
	case reflect.Struct:
		s := &shape{fields: make(map[string]*shape)}
		all[t] = s
		for _, f := range reflect.VisibleFields(t) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case name == "-" || !f.IsExported() || f.Anonymous && name == "":
				continue
			case name == "":
				name = f.Name
			}
			s.fields[name] = all.of(f.Type)
		}
		return s
	}
	return nil
}
