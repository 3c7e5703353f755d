package config

import (
	_ "embed"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// source is read for the comments of Config: they are the documentation, and
// so there is nothing beside them that could say something else.
//
//go:embed config.go
var source string

// option is one field of Config under the names that users know.
type option struct {
	key   string // in the file; the flag has dashes for underscores
	field int    // index in Config
	doc   string // the field's comment as one paragraph
}

func (o option) flag() string { return strings.ReplaceAll(o.key, "_", "-") }
func (o option) env() string  { return envPrefix + strings.ToUpper(o.key) }

// Kinds of options that are treated apart from the others.
const (
	kindList = "list" // takes several values
	kindBool = "bool"
)

// kind names the type of the option's value, for people.
func (o option) kind() string {
	switch t := reflect.TypeFor[Config]().Field(o.field).Type; {
	case t.Kind() == reflect.Slice:
		return kindList
	case t == reflect.TypeFor[time.Duration]():
		return "duration"
	case t.Kind() == reflect.Float64:
		return "number"
	default:
		return t.Kind().String()
	}
}

// isList reports whether the option takes several values.
func (o option) isList() bool { return o.kind() == kindList }

const envPrefix = "DFAAS_"

// options lists the fields of Config in order.
func options() []option {
	docs := fieldDocs()
	t := reflect.TypeFor[Config]()
	out := make([]option, t.NumField())
	for i := range out {
		f := t.Field(i)
		out[i] = option{key: f.Tag.Get("yaml"), field: i, doc: strings.Join(strings.Fields(docs[f.Name]), " ")}
	}
	return out
}

// fieldDocs returns the comments of Config's fields by field name.
func fieldDocs() map[string]string {
	docs := map[string]string{}
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", source, parser.ParseComments)
	if err != nil {
		return docs // it compiled, so it parses
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if s, ok := spec.Type.(*ast.StructType); ok && spec.Name.Name == "Config" {
			for _, f := range s.Fields.List {
				docs[f.Names[0].Name] = f.Doc.Text()
			}
		}
		return false
	})
	return docs
}

// set writes values, as the user wrote them, into the option's field. A list
// takes any number, every other option exactly one.
func (o option) set(c *Config, values []string) error {
	field := reflect.ValueOf(c).Elem().Field(o.field)
	if o.isList() {
		field.Set(reflect.ValueOf(values))
		return nil
	}
	if len(values) != 1 {
		return errors.New("takes one value, not a list")
	}
	value := values[0]
	switch field.Interface().(type) {
	case string:
		field.SetString(value)
	case bool:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", value)
		}
		field.SetBool(b)
	case float64:
		f, err := strconv.ParseFloat(value, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("%q is not a number", value)
		}
		field.SetFloat(f)
	case time.Duration:
		d, err := time.ParseDuration(value)
		if err != nil {
			return fmt.Errorf("%q is not a duration: write a number and a unit, such as 500ms or 1s", value)
		}
		field.SetInt(int64(d))
	default:
		return fmt.Errorf("has a type (%s) that cannot be set", field.Type())
	}
	return nil
}

// format writes the option's value as a user would, lists joined by commas.
func (o option) format(c *Config) string {
	switch v := reflect.ValueOf(c).Elem().Field(o.field).Interface().(type) {
	case []string:
		return strings.Join(v, ",")
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}

// splitList cuts a comma-separated list, as flags and variables give it.
func splitList(s string) []string {
	values := []string{}
	for v := range strings.SplitSeq(s, ",") {
		if v = strings.TrimSpace(v); v != "" {
			values = append(values, v)
		}
	}
	return values
}

// parse splits what a flag or variable says and sets it.
func (o option) parse(c *Config, s string) error {
	if o.isList() {
		return o.set(c, splitList(s))
	}
	return o.set(c, []string{s})
}
