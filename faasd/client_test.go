package faasd

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/openfaas/faas-provider/types"

	"github.com/dfaas/dfaas/internal/port"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// gateway answers as the map says; a path that it lacks is a 404.
func gateway(t *testing.T, answers map[string]string) *Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.URL.RequestURI()]
		if !ok {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(server.Close)
	return client(t, server.URL)
}

func client(t *testing.T, url string) *Client {
	t.Helper()
	c, err := New(Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func names(l List) []string {
	list := []string{}
	for _, f := range l.Functions {
		list = append(list, f.Name.String())
	}
	return list
}

func TestList(t *testing.T) {
	for name, test := range map[string]struct {
		answers map[string]string
		want    []string
		refused int
	}{
		"namespaces": {map[string]string{
			"/system/namespaces":                      `["dev","openfaas-fn"]`,
			"/system/functions?namespace=dev":         `[{"name":"b","namespace":"dev"},{"name":"a","namespace":"dev"}]`,
			"/system/functions?namespace=openfaas-fn": `[{"name":"b","namespace":"openfaas-fn"},{"name":"c"}]`,
		}, []string{"a.dev", "b", "b.dev", "c"}, 0},
		"a gateway without namespaces": {map[string]string{
			"/system/functions?namespace=openfaas-fn": `[{"name":"b"}]`,
		}, []string{"b"}, 0},
		"no namespaces": {map[string]string{
			"/system/namespaces":                      `null`,
			"/system/functions?namespace=openfaas-fn": `[]`,
		}, []string{}, 0},
		"bad names": {map[string]string{
			"/system/functions?namespace=openfaas-fn": `[{"name":"../x"},{"name":"ok"},{"name":""},{"name":"x","namespace":"A B"}]`,
		}, []string{"ok"}, 3},
		"one function twice": {map[string]string{
			"/system/functions?namespace=openfaas-fn": `[{"name":"a"},{"name":"a"}]`,
		}, []string{"a"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := gateway(t, test.answers).List(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, names(list)); diff != "" || len(list.Refused) != test.refused {
				t.Errorf("%s\nrefused: %q", diff, list.Refused)
			}
		})
	}
}

func TestListReadsLabels(t *testing.T) {
	list, err := gateway(t, map[string]string{"/system/functions?namespace=openfaas-fn": `[
		{"name":"bad","labels":{"dfaas.maxrate":"fast"}},
		{"name":"good","labels":{"dfaas.maxrate":"2.5","dfaas.timeout_ms":"100"},"replicas":3},
		{"name":"none","labels":null}]`}).List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	bad, good, none := list.Functions[0], list.Functions[1], list.Functions[2]
	if bad.Labels.MaxRateErr == nil || bad.Labels.HasMaxRate || !strings.Contains(bad.Labels.MaxRateErr.Error(), `"fast"`) {
		t.Errorf("bad: %+v", bad.Labels)
	}
	if good.Labels != (Labels{MaxRate: testvalue.Rate(2.5), HasMaxRate: true, TimeoutMillis: 100}) || good.Status.Replicas != 3 {
		t.Errorf("good: %+v", good)
	}
	if none.Labels != (Labels{}) {
		t.Errorf("none: %+v", none.Labels)
	}
}

func TestListFails(t *testing.T) {
	tooMany := "[" + strings.Repeat(`{"name":"a"},`, maxFunctions) + `{"name":"a"}]`
	for name, test := range map[string]struct {
		answers map[string]string
		want    string
	}{
		"garbage":             {map[string]string{"/system/namespaces": `<html>`}, "OpenFaaS gateway"},
		"wrong shape":         {map[string]string{"/system/functions?namespace=openfaas-fn": `{"a":1}`}, "OpenFaaS gateway"},
		"bad namespace":       {map[string]string{"/system/namespaces": `["a/../b"]`}, "namespace"},
		"many namespaces":     {map[string]string{"/system/namespaces": "[" + strings.Repeat(`"a",`, 200) + `"a"]`}, "at most"},
		"many functions":      {map[string]string{"/system/functions?namespace=openfaas-fn": tooMany}, "more than"},
		"too long":            {map[string]string{"/system/namespaces": strings.Repeat(" ", maxAnswer+1)}, "longer than"},
		"nothing but a proxy": {nil, "404"},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := gateway(t, test.answers).List(context.Background())
			if err == nil || !strings.Contains(err.Error(), test.want) || len(list.Functions) > 0 {
				t.Errorf("%v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestUnreachableGateways(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	release, err := port.Keep(netip.MustParseAddrPort(closed.Addr().String())) // or another program might listen there
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if err := client(t, closed.Addr().String()).Healthy(context.Background()); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("closed port: %v", err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts in the kernel, never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if _, err := client(t, silent.Addr().String()).List(context.Background()); err == nil || !strings.Contains(err.Error(), "in time") {
		t.Errorf("silent gateway: %v", err)
	}
}

// The password goes to the gateway and nowhere else.
func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the client followed") }))
	defer elsewhere.Close()
	gateway := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
	defer gateway.Close()
	if err := client(t, gateway.URL).Healthy(context.Background()); err == nil || !strings.Contains(err.Error(), "302") {
		t.Errorf("%v", err)
	}
}

func TestChanges(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, fmt.Sprintf("%s %s %s", r.Method, r.URL.RequestURI(), body))
		user, password, _ := r.BasicAuth()
		if user != "admin" || password != "secret word" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret word\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := New(Options{URL: server.URL + "/", User: "admin", PasswordFile: file})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for _, err := range []error{
		c.Deploy(ctx, types.FunctionDeployment{Service: "a", Image: "cat"}),
		c.Update(ctx, types.FunctionDeployment{Service: "a", Image: "cat", Namespace: "dev"}),
		c.Remove(ctx, "a"),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	want := []string{
		`POST /system/functions?namespace=openfaas-fn {"service":"a","image":"cat"}`,
		`PUT /system/functions?namespace=dev {"service":"a","image":"cat","namespace":"dev"}`,
		`DELETE /system/functions?namespace=openfaas-fn {"functionName":"a","namespace":"openfaas-fn"}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := c.Remove(ctx, "a/../b"); err == nil || len(got) != len(want) {
		t.Errorf("a bad name was sent: %v", err)
	}
	if err := client(t, server.URL).Remove(ctx, "a"); err == nil || !strings.Contains(err.Error(), "remove a: ") ||
		!strings.Contains(err.Error(), "401") {
		t.Errorf("without credentials: %v", err)
	}
}

func TestInfo(t *testing.T) {
	for _, test := range []struct{ answer, provider, release string }{
		{`{"provider":{"provider":"faasd-ce","version":{"release":"0.19","sha":"a"},"orchestration":"containerd"},
			"version":{"release":"0.27","sha":"b"},"arch":"x86_64"}`, "faasd-ce", "0.27"},
		{`{"provider":"faasd","version":{"release":"0.19","sha":"a"},"orchestration":"containerd"}`, "faasd", ""},
	} {
		info, err := gateway(t, map[string]string{"/system/info": test.answer}).Info(context.Background())
		if err != nil || info.Provider.Name != test.provider || info.Version.Release != test.release {
			t.Errorf("%+v, %v", info, err)
		}
	}
	if _, err := gateway(t, map[string]string{"/system/info": `[]`}).Info(context.Background()); err == nil {
		t.Error("a list is no info")
	}
}

func TestNewRefuses(t *testing.T) {
	for want, o := range map[string]Options{
		"http://HOST:PORT":     {URL: ""},
		"use http":             {URL: "ftp://x"},
		"options of their own": {URL: "http://admin:secret@localhost"},
		"do not belong":        {URL: "ftp://admin:secret@localhost"},
		"invalid port":         {URL: "http://admin:secret@localhost:x"},
		"both":                 {URL: "localhost", User: "admin"},
		"or neither":           {URL: "localhost", PasswordFile: "/dev/null"},
		"password":             {URL: "localhost", User: "admin", PasswordFile: "/does/not/exist"},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v, want an error with %q, and without the password", o, err, want)
		}
	}
}

func FuzzList(f *testing.F) {
	f.Add(`["a"]`, `[{"name":"x","labels":{"dfaas.maxrate":"1"}}]`)
	f.Add(`null`, `null`)
	f.Add(`{`, `[{}]`)
	var namespaces, functions string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "namespaces") {
			fmt.Fprint(w, namespaces)
		} else {
			fmt.Fprint(w, functions)
		}
	}))
	f.Cleanup(server.Close)
	c, err := New(Options{URL: server.URL})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		namespaces, functions = first, second
		list, err := c.List(context.Background())
		if err != nil && len(list.Functions) > 0 {
			t.Error("functions and an error")
		}
		previous := ""
		for _, function := range list.Functions {
			name, namespace := SplitName(function.Name.String(), DefaultNamespace)
			if !ValidLabel(name) || !ValidLabel(namespace) || function.Name.String() <= previous {
				t.Errorf("name %q after %q", function.Name, previous)
			}
			previous = function.Name.String()
		}
	})
}
