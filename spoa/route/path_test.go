package route

import (
	"strings"
	"testing"

	"github.com/dfaas/dfaas/internal/testtable"
)

func TestFunctionName(t *testing.T) {
	for path, want := range map[string]string{
		"/function/foo":                "foo",
		"/function/foo/":               "foo",
		"/function/foo/bar/../baz":     "foo",
		"/function/foo?x=/function/y":  "foo",
		"/function/foo-bar.ns/x":       "foo-bar.ns",
		"/async-function/foo":          "foo",
		"/function/":                   "",
		"/function//foo":               "",
		"/function/%66oo":              "%66oo",
		"/function/foo%2fbar":          "foo%2fbar",
		"/function/FOO":                "FOO",
		"/function/foo\x00":            "foo\x00",
		"/function/foo#x":              "foo#x",
		"/function/function/foo":       "function",
		"/async-function/function/foo": "function",
	} {
		if got, ours, async := functionName(path); !ours || got != want || async != strings.HasPrefix(path, "/async-function/") {
			t.Errorf("functionName(%q) = %q, %v, want %q", path, got, ours, want)
		}
	}
	for _, path := range []string{"", "/", "/function", "/functions/foo", "function/foo", "//function/foo", "/Function/foo",
		"/./function/foo", "/%66unction/foo", "/async-function", "/system/functions", "/function\x00/foo", "*"} {
		if got, ours, _ := functionName(path); ours {
			t.Errorf("functionName(%q) = %q, want it not to be a function call", path, got)
		}
	}
}

func FuzzFunctionName(f *testing.F) {
	for _, path := range []string{"/function/foo", "/async-function/foo.ns/x?y", "/function/%66oo", "/function//", "//function/x"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		name, ours, _ := functionName(path)
		switch {
		case !ours && (strings.HasPrefix(path, "/function/") || strings.HasPrefix(path, "/async-function/")):
			t.Errorf("functionName(%q) is not ours", path)
		case ours && strings.ContainsAny(name, "/?"):
			t.Errorf("functionName(%q) = %q", path, name)
		case ours && !strings.HasPrefix(path, "/function/"+name) && !strings.HasPrefix(path, "/async-function/"+name):
			t.Errorf("functionName(%q) = %q, which is not in it literally", path, name)
		}
	})
}

// TestOtherNames: what a gateway could take for another name is not let through to
// it as an unknown one, for the other one may have a limit.
func TestOtherNames(t *testing.T) {
	tab := testtable.New(1, 0)
	limited := tab.Functions[0].Name.String()
	for namespace, want := range map[string]Decision{"": {Action: Deny, Status: 503}, "main": {Status: 404}} {
		tab.DefaultNamespace = namespace
		if got := compile(t, tab, nil, t0).Route(t0, call(limited+".other")); got != want {
			t.Errorf("default namespace %q: %v, want %v", namespace, got, want)
		}
	}
	for _, name := range []string{"%2Fx", "%2e", ".", "..main", ";x", "\\x", " x", "\x00", "%"} {
		if got := compile(t, tab, nil, t0).Route(t0, call(limited+name)); got != (Decision{Action: Deny, Status: 404}) {
			t.Errorf("%q: %v", limited+name, got)
		}
	}
}
