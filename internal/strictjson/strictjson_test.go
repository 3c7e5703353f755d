package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

type document struct {
	A int            `json:"a"`
	B []document     `json:"b"`
	C map[string]int `json:"c"`
	D *document      `json:"d"`
}

func TestUnmarshal(t *testing.T) {
	for _, good := range []string{
		`{}`, ` { "a" : 1 } `, `{"b":[{"a":1},{"a":2,"b":[]}],"a":3}`, `{"c":{"x.y-z_0":1,"x":2},"d":{"c":{"x":1}}}`,
		`{"d":{"a":1,"d":{"a":2}},"a":3}`, `null`,
	} {
		if err := Unmarshal([]byte(good), new(document)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, why := range map[string]string{
		``:                                 "cut short",
		`{"a":1`:                           "cut short",
		`{"a":1} {}`:                       "after the end",
		`{"a":1}]`:                         "after the end",
		`{"x":1}`:                          "unknown field",
		`{"A":1}`:                          "written",
		`{"x":{"a":1,"a":2}}`:              "twice",
		`{"\u0061":1}`:                     "made of",
		`{"a":1,"a":1}`:                    "twice",
		`{"a":1,"d":{"a":1},"a":2}`:        "twice",
		`{"b":[{"a":1},{"a":1,"a":2}]}`:    "twice",
		`{"d":{"a":1,"d":{"a":2},"a":3}}`:  "twice",
		`{"c":{"x":1,"x":1}}`:              "twice",
		`{"c":{"":1}}`:                     "no name",
		`{"a":"x"}`:                        "is not a",
		`{"a":1e999}`:                      "is not a",
		`{"b":[{"c":{"q\"":1}}]}`:          "made of",
		`{"c":{"` + "\u212a" + `":1}}`:     "made of", // Kelvin sign
		strings.Repeat(`{"d":`, 20_000):    "depth",
		`[]`:                               "is not a",
		`{"a":1,"b":"}{\",\"a\":1","a":2}`: "is not a",
	} {
		err := Unmarshal([]byte(bad), new(document))
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%.60s: error %v, want one with %q", bad, err, why)
		}
	}
}

func TestLenientIgnoresWhatItDoesNotKnow(t *testing.T) {
	for doc, want := range map[string]string{
		`{"a":1}`:       "",
		`{"a":1,"x":2}`: "x",
		`{"y":{"a":1,"B":[{"Z":1}]},"x":2,"a":1}`:   "y",
		`{"b":[{"a":1},{"d":{"a":1,"new":[]}}]}`:    "new",
		`{"c":{"MyFunc":1,"myfunc":2,"my_func":3}}`: "",
		`{"d":{"c":{"A":1}},"b":[{"c":{"A":1}}]}`:   "",
	} {
		var d document
		ignored, err := Lenient([]byte(doc), &d)
		if err != nil || ignored != want {
			t.Errorf("%s: ignored %q, %v, want %q", doc, ignored, err, want)
		}
	}
	var d document
	if _, err := Lenient([]byte(`{"new":[{"a":5}],"a":1,"d":{"a":2,"more":true}}`), &d); err != nil || d.A != 1 || d.D.A != 2 {
		t.Errorf("read %+v, %v", d, err)
	}
}

// duplicates finds names that occur twice by means of the standard decoder.
func duplicates(d *json.Decoder) (bool, error) {
	tok, err := d.Token()
	if err != nil {
		return false, err
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return false, nil
	}
	found, seen := false, map[string]bool{}
	for d.More() {
		if delim == '{' {
			name, err := d.Token()
			if err != nil {
				return false, err
			}
			found = found || seen[name.(string)]
			seen[name.(string)] = true
		}
		inner, err := duplicates(d)
		if err != nil {
			return false, err
		}
		found = found || inner
	}
	_, err = d.Token()
	return found, err
}

func FuzzLenient(f *testing.F) {
	for _, s := range []string{`{"a":[{"b":{},"c":1},{"b":2}],"b":"\"}{,"}`, `{"a":1,"a":1}`, `[{"a":[1,{"a":2}],"a":3}]`, `"x"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) {
			return
		}
		want, err := duplicates(json.NewDecoder(strings.NewReader(string(data))))
		if err != nil {
			return // deeper than the oracle goes
		}
		var anything any
		_, got := Lenient(data, &anything)
		if want && got == nil {
			t.Errorf("%s: duplicate not found", data)
		}
		if !want && got != nil && strings.Contains(got.Error(), "twice") {
			t.Errorf("%s: %v", data, got)
		}
		checkIgnored(t, data)
	})
}

// checkIgnored compares what is ignored with what the standard decoder does not
// know.
func checkIgnored(t *testing.T, data []byte) {
	ignored, err := Lenient(data, new(document))
	if err != nil {
		return
	}
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	if err := d.Decode(new(document)); (err != nil) != (ignored != "") {
		t.Errorf("%s: ignored %q, the standard decoder says %v", data, ignored, err)
	}
}

// split reads a document as Lenient does, but list by list.
func split(data []byte) (b []document, rest document, err error) {
	head, err := Split(bytes.NewReader(data), map[string]func([]byte) error{"b": func(element []byte) error {
		var d document
		_, err := Lenient(element, &d)
		b = append(b, d)
		return err
	}})
	if err == nil {
		_, err = Lenient(head, &rest)
	}
	return b, rest, err
}

func TestSplit(t *testing.T) {
	for doc, want := range map[string]string{
		`{}`:             `{}`,
		` { } `:          `{}`,
		`{"a":1}`:        `{"a":1}`,
		`{"b":[],"a":1}`: `{"b":null,"a":1}`,
		"{\t\"b\" :[ {\"a\":1} ,\n{}], \"c\" : {\"x\": 2 } }": `{"b":null,"c":{"x": 2 }}`,
		`{"b":null}`:                   `{"b":null}`,
		`{"b":"[,]"}`:                  `{"b":"[,]"}`,
		`{"d":{"b":[{}]}}`:             `{"d":{"b":[{}]}}`,
		`{"e\"":"\\","b":[{"e":"]"}]}`: `{"e\"":"\\","b":null}`,
		`null`:                         `null`,
		`[{"b":1}]`:                    `[{"b":1}]`,
	} {
		for _, buffered := range []io.Reader{strings.NewReader(doc), iotest.OneByteReader(strings.NewReader(doc))} {
			rest, err := Split(buffered, map[string]func([]byte) error{"b": func([]byte) error { return nil }})
			if err != nil || string(rest) != want {
				t.Errorf("%s: the rest is %s, %v", doc, rest, err)
			}
		}
	}
	broken := errors.New("broken")
	for doc, why := range map[string]string{
		``: "cut short", ` `: "cut short", `{`: "cut short", `{"b`: "cut short", `{"b":`: "cut short", `{"b":[`: "cut short", `{"b":[{}`: "cut short",
		`{"b":[{`: "cut short", `{"b":[{}]`: "cut short", `{"a":1`: "cut short", `{"b":[{},]}`: "missing", `{"b":[,{}]}`: "missing", `{"a":}`: "missing",
		`{"b":[{} {}]}`: "invalid character", `{"a" 1}`: "invalid character", `{"b":[]"a":1}`: "invalid character", `{} x`: "after the end", `{"b":[{}]}{}`: "after the end",
	} {
		if _, _, err := split([]byte(doc)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: error %v, want one with %q", doc, err, why)
		}
	}
	if _, err := Split(io.MultiReader(strings.NewReader(`{"b":[{},{`), iotest.ErrReader(broken)), nil); !errors.Is(err, broken) {
		t.Errorf("error %v of a reader that fails", err)
	}
	if _, err := Split(strings.NewReader(`{"b":[{}]}`), map[string]func([]byte) error{"b": func([]byte) error { return broken }}); !errors.Is(err, broken) {
		t.Errorf("error %v of a list that fails", err)
	}
}

// FuzzSplit: list by list, a document is read as it is at once, or refused as it is.
func FuzzSplit(f *testing.F) {
	for _, doc := range []string{`{}`, `{"a":1,"b":[{"a":2},{"c":{"x":1}}],"d":{"b":[{}]}}`, `{"b":null}`, `{"b":[{"z":[1]},null]}`, `{"b":[{}],"b":[]}`, `null`, `{"B":[{}]}`} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.Contains(data, []byte(`\`)) { // in names, which are no list's then
			return
		}
		var want document
		_, atOnce := Lenient(data, &want)
		b, got, err := split(data)
		if (atOnce == nil) != (err == nil) {
			t.Fatalf("%q: at once %v, list by list %v", data, atOnce, err)
		}
		if err != nil {
			return
		}
		if got.B = b; len(b) == 0 {
			got.B, want.B = nil, nil
		}
		if !reflect.DeepEqual(want, got) {
			t.Errorf("%q: at once %+v, list by list %+v", data, want, got)
		}
	})
}
