package provider

import (
	"bufio"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// environment is what requestEnvironment makes of a request, by name. A name that
// is there twice, in any spelling, is an error.
func environment(t *testing.T, s *spec, r *http.Request, path string) map[string]string {
	t.Helper()
	variables := map[string]string{}
	seen := map[string]bool{}
	for _, variable := range s.requestEnvironment(s.env[:len(s.env):len(s.env)], r, path) {
		name, value, _ := strings.Cut(variable, "=")
		if key := strings.ToLower(strings.ReplaceAll(name, "-", "_")); seen[key] {
			t.Errorf("%s is there twice", name)
		} else {
			seen[key] = true
		}
		if !validVariable(name) {
			t.Errorf("%q is no name of a variable", name)
		}
		variables[name] = value
	}
	return variables
}

func environmentSpec() *spec {
	return &spec{env: []string{"PATH=/bin", "Http_Tenant=ours"}, variables: map[string]bool{"path": true, "http_tenant": true}}
}

// checkEnvironment: whatever header fields a request brings, the variables that
// the provider sets itself are what it set, or are not there.
func checkEnvironment(t *testing.T, r *http.Request) {
	t.Helper()
	got := environment(t, environmentSpec(), r, "/p")
	bare := *r
	bare.Header = http.Header{"X-Forwarded-For": r.Header["X-Forwarded-For"]}
	want := environment(t, environmentSpec(), &bare, "/p")
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %q, not %q", name, got[name], value)
		}
	}
	for name := range got {
		if key := strings.ToLower(name); want[name] == "" && (ownVariables[key] || key == "http_proxy") {
			t.Errorf("a header field became %s=%s", name, got[name])
		}
	}
}

func TestNoHeaderPosesAsAVariable(t *testing.T) {
	raw := "GET /function/x HTTP/1.1\r\nHost: localhost\r\nMethod: DELETE\r\nmEtHod: PUT\r\nPath: /admin\r\nQuery: a=b\r\n" +
		"Proxy: http://evil\r\nPROXY: http://evil\r\npRoXy: http://evil\r\nContentLength: 5\r\nContent_Length: 6\r\n" +
		"Transfer_Encoding: chunked\r\nX_Forwarded_For: 6.6.6.6\r\nX-User: real\r\nX_User: forged\r\nx-user: second\r\nTenant: other\r\n" +
		"X-Odd!: y\r\nPlain: yes\r\n\r\n"
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	r.RemoteAddr = "127.0.0.1:1"
	checkEnvironment(t, r)
	got := environment(t, environmentSpec(), r, "")
	want := map[string]string{
		"PATH": "/bin", "Http_Tenant": "ours", "Http_Method": "GET", "Http_Host": "localhost", "Http_ContentLength": "0",
		"Http_Content_Length": "0", "Http_Path": "/", "Http_X_Forwarded_For": "127.0.0.1", "Http_X_User": "real", "Http_Plain": "yes",
	}
	if !maps.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}

// The same at a real process: what the shell and Python would take for their
// proxy is not there.
func TestNoHeaderPosesAsAVariableOfAProcess(t *testing.T) {
	p := startNew(t)
	p.deploy("env", "env", nil)
	_, text, _ := p.exchange("GET", "/function/env?q=1", nil, http.Header{
		"Proxy": {"http://evil"}, "PROXY": {"http://evil"}, "Method": {"DELETE"}, "Path": {"/admin"}, "Query": {"x"}, "Content_Length": {"7"}})
	lines := strings.Split(text, "\n")
	for _, want := range []string{"Http_Method=GET", "Http_Path=/", "Http_Query=q=1", "Http_Content_Length=0"} {
		if !slices.Contains(lines, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(strings.ToLower(text), "http_proxy") || strings.Contains(text, "admin") || strings.Contains(text, "DELETE") {
		t.Errorf("a header field posed as a variable:\n%s", text)
	}
}

// X-Forwarded-For is one list that ends with the address that the call came from.
func TestForwardedFor(t *testing.T) {
	for _, test := range []struct {
		fields []string
		want   string
	}{
		{nil, "192.0.2.9"},
		{[]string{"6.6.6.6", "198.51.100.1"}, "6.6.6.6, 198.51.100.1, 192.0.2.9"},
		{[]string{" 1.1.1.1 ,, 2.2.2.2\t", "", ","}, "1.1.1.1, 2.2.2.2, 192.0.2.9"},
	} {
		r := &http.Request{RemoteAddr: "192.0.2.9:1234", Header: http.Header{"X-Forwarded-For": test.fields}}
		if got := forwardedFor(r); got != test.want {
			t.Errorf("%q: %q, want %q", test.fields, got, test.want)
		}
	}
	p := startNew(t)
	p.deploy("env", "env", nil)
	p.startHTTP("web", nil)
	for name, want := range map[string]string{
		"env": "Http_X_Forwarded_For=6.6.6.6, 198.51.100.1, 127.0.0.1\n", "web": "forwarded=6.6.6.6, 198.51.100.1, 127.0.0.1 ",
	} {
		_, text, _ := p.exchange("GET", "/function/"+name, nil, http.Header{"X-Forwarded-For": {"6.6.6.6", "198.51.100.1"}})
		if !strings.Contains(text, want) {
			t.Errorf("%s: no %q in\n%s", name, want, text)
		}
	}
}

func FuzzEnvironment(f *testing.F) {
	f.Add("Proxy: x\r\nMethod: y\r\nX_A: 1\r\nX-A: 2")
	f.Add("X-Forwarded-For: 1, 2\r\nX-Forwarded-For: 3\r\nContent-Type: a")
	f.Add("content_length: 5\r\nPATH: /x\r\n")
	f.Fuzz(func(t *testing.T, fields string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(fmt.Sprintf("GET /function/x?q HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", fields))))
		if err != nil {
			return
		}
		r.RemoteAddr = "127.0.0.1:1"
		checkEnvironment(t, r)
		if list := forwardedFor(r); !strings.HasSuffix(", "+list, ", 127.0.0.1") || strings.Contains(list, ", ,") || strings.ContainsAny(list, "\r\n") {
			t.Errorf("X-Forwarded-For: %q", list)
		}
	})
}
