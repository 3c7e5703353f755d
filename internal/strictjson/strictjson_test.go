package strictjson

import (
	"encoding/json"
	"strings"
	"testing"
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
		`{"A":1}`:                          "made of",
		`{"\u0061":1}`:                     "made of",
		`{"a":1,"a":1}`:                    "twice",
		`{"a":1,"d":{"a":1},"a":2}`:        "twice",
		`{"b":[{"a":1},{"a":1,"a":2}]}`:    "twice",
		`{"d":{"a":1,"d":{"a":2},"a":3}}`:  "twice",
		`{"c":{"x":1,"x":1}}`:              "twice",
		`{"c":{"":1,"y":2,"":3}}`:          "twice",
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

// duplicates is CheckNames by means of the standard decoder.
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

func FuzzCheckNames(f *testing.F) {
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
		got := CheckNames(data)
		if want && got == nil {
			t.Errorf("%s: duplicate not found", data)
		}
		if !want && got != nil && strings.Contains(got.Error(), "twice") {
			t.Errorf("%s: %v", data, got)
		}
	})
}
