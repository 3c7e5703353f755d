package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openfaas/faas-provider/logs"
	"github.com/openfaas/faas-provider/types"

	"github.com/dfaas/dfaas/faasd"
)

// The requests are those that faas-cli makes.
func TestLifeOfAFunction(t *testing.T) {
	o := testOptions(t.TempDir())
	o.AllowProcesses = false
	p := start(t, o)
	deployment := object{
		"service": "figlet", "image": "ghcr.io/openfaas/figlet:latest", "namespace": "openfaas-fn", "network": "", // no longer in use
		"envProcess": "", "envVars": object{}, "constraints": []string{}, "secrets": []string{}, "registryAuth": "",
		"labels": object{"dfaas.maxrate": "10"}, "annotations": object{"topic": "x"}, "requests": nil, "limits": nil,
		"readOnlyRootFilesystem": false,
	}
	p.want(404, "not deployed", "PUT", "/system/functions", deployment)
	p.want(202, "", "POST", "/system/functions", deployment)
	p.want(409, "PUT", "POST", "/system/functions", deployment)
	p.want(202, "", "PUT", "/system/functions", deployment)
	p.want(200, "___", "POST", "/function/figlet", "hello")
	p.want(200, "___", "PUT", "/function/figlet.openfaas-fn/", "again")

	var status types.FunctionStatus
	text := p.want(200, "", "GET", "/system/function/figlet?namespace=openfaas-fn&usage=true", nil)
	if err := json.Unmarshal([]byte(text), &status); err != nil {
		t.Fatal(err)
	}
	if status.Name != "figlet" || status.Namespace != "openfaas-fn" || status.Replicas != 1 || status.AvailableReplicas != 1 ||
		status.InvocationCount != 2 || status.CreatedAt.IsZero() || (*status.Labels)["dfaas.maxrate"] != "10" {
		t.Errorf("status: %s", text)
	}
	p.want(202, "", "POST", "/system/scale-function/figlet?namespace=openfaas-fn",
		object{"serviceName": "figlet", "replicas": 0, "namespace": "openfaas-fn"})
	p.want(200, `"createdAt"`, "GET", "/system/function/figlet", nil)
	if text := p.want(200, "", "GET", "/system/function/figlet", nil); strings.Contains(text, "replicas") {
		t.Errorf("scaled to zero: %s", text)
	}
	p.want(200, "___", "POST", "/function/figlet", "hello") // scales up
	p.want(200, `"replicas":1`, "GET", "/system/function/figlet", nil)
	p.want(400, "max_inflight", "POST", "/system/scale-function/figlet", object{"serviceName": "figlet", "replicas": 2})

	p.want(202, "", "DELETE", "/system/functions?namespace=openfaas-fn", object{"functionName": "figlet"})
	p.want(404, "not deployed", "DELETE", "/system/functions?namespace=openfaas-fn", object{"functionName": "figlet"})
	p.want(404, "", "GET", "/system/function/figlet", nil)
	p.want(404, "", "POST", "/system/scale-function/figlet", object{"replicas": 1})
	p.want(404, "not deployed here", "POST", "/function/figlet", "hello")
	if text := p.want(200, "", "GET", "/system/functions", nil); text != "[]\n" {
		t.Errorf("list: %s", text)
	}
}

func TestNamespaces(t *testing.T) {
	p := startNew(t)
	for _, namespace := range []string{"", "dev", "test"} {
		p.want(202, "", "POST", "/system/functions", object{"service": "same", "image": "alpine", "namespace": namespace,
			"envProcess": "echo ns-" + namespace})
	}
	p.want(200, `["dev","openfaas-fn","test"]`, "GET", "/system/namespaces", nil)
	p.want(200, "ns-\n", "GET", "/function/same", nil)
	p.want(200, "ns-dev\n", "GET", "/function/same.dev", nil)
	p.want(200, "ns-test\n", "GET", "/function/same.test/x", nil)
	p.want(404, "", "GET", "/function/same.other", nil)
	p.want(404, "", "GET", "/function/sam", nil)
	p.want(404, "", "GET", "/function/samee", nil)
	p.want(200, `"namespace":"dev"`, "GET", "/system/functions?namespace=dev", nil)
	p.want(202, "", "DELETE", "/system/functions", object{"functionName": "same", "namespace": "dev"})
	p.want(404, "", "GET", "/function/same.dev", nil)
	p.want(200, "ns-\n", "GET", "/function/same", nil)
	p.want(501, "nothing to create", "POST", "/system/namespace/dev", object{"name": "dev"})
}

func TestSmallAnswers(t *testing.T) {
	p := startNew(t)
	p.want(200, "OK", "GET", "/healthz", nil)
	p.want(200, `"provider":{"provider":"dfaas-provider"`, "GET", "/system/info", nil)
	p.want(404, "", "GET", "/function/", nil)
	p.want(404, "", "GET", "/", nil)
	p.want(404, "", "GET", "/system/telemetry", nil)
	p.want(405, "", "PATCH", "/system/functions", nil)
	p.want(400, "JSON", "POST", "/system/functions", "{")
	p.want(400, "JSON", "POST", "/system/functions", `{"service":5}`)
	p.want(413, "", "POST", "/system/functions", `{"service":"`+strings.Repeat("x", maxAPIBody)+`"}`)
	p.want(400, "namespace", "GET", "/system/functions?namespace=..%2F..", nil)
}

func TestRefusedDeployments(t *testing.T) {
	o := testOptions(t.TempDir())
	o.AllowProcesses = false
	strict := start(t, o)
	free := startNew(t)
	tooMany := map[string]string{}
	for i := range maxMapEntries + 1 {
		tooMany["k"+strings.Repeat("x", i)] = "v"
	}
	for name, test := range map[string]struct {
		p          *testProvider
		deployment object
		want       string
	}{
		"no name":             {strict, object{"image": "figlet"}, "function name"},
		"bad name":            {strict, object{"service": "../x", "image": "figlet"}, "function name"},
		"not ASCII":           {strict, object{"service": "fïglet", "image": "figlet"}, "function name"},
		"dot in name":         {strict, object{"service": "a.b", "image": "figlet"}, "function name"},
		"bad namespace":       {strict, object{"service": "x", "namespace": "a/b", "image": "figlet"}, "namespace"},
		"no image":            {strict, object{"service": "x"}, "image"},
		"unknown image":       {strict, object{"service": "x", "image": "mine:1"}, "--allow-processes"},
		"process":             {strict, object{"service": "x", "image": "mine:1", "envProcess": "id"}, "--allow-processes"},
		"process in alpine":   {strict, object{"service": "x", "image": "alpine", "envProcess": "sh"}, "--allow-processes"},
		"arguments":           {strict, object{"service": "x", "image": "alpine", "envProcess": "cat /etc/passwd"}, "--allow-processes"},
		"fprocess":            {strict, object{"service": "x", "image": "alpine", "envVars": object{"fprocess": "sh"}}, "--allow-processes"},
		"function_process":    {strict, object{"service": "x", "image": "cat", "envVars": object{"function_process": "sh"}}, "allow-processes"},
		"LD_PRELOAD":          {strict, object{"service": "x", "image": "figlet", "envVars": object{"LD_PRELOAD": "/tmp/x.so"}}, "LD_PRELOAD"},
		"mode http":           {strict, object{"service": "x", "image": "figlet", "envVars": object{"mode": "http"}}, "--allow-processes"},
		"missing program":     {free, object{"service": "x", "image": "x", "envProcess": "no-such-program-here"}, "not installed"},
		"relative program":    {free, object{"service": "x", "image": "x", "envProcess": "./script"}, "not installed"},
		"blank process":       {free, object{"service": "x", "image": "x", "envProcess": "  "}, "blank"},
		"two lines":           {free, object{"service": "x", "image": "x", "envProcess": "cat\nid"}, "one line"},
		"bad variable":        {free, object{"service": "x", "image": "cat", "envVars": object{"a=b": "x"}}, "variable"},
		"NUL":                 {free, object{"service": "x", "image": "cat", "envVars": object{"a": "x\x00y"}}, "NUL"},
		"too many labels":     {free, object{"service": "x", "image": "cat", "labels": tooMany}, "at most 256"},
		"bad mode":            {free, object{"service": "x", "image": "cat", "envVars": object{"mode": "afterburn"}}, "streaming"},
		"bad timeout":         {free, object{"service": "x", "image": "cat", "envVars": object{"exec_timeout": "fast"}}, "exec_timeout"},
		"long timeout":        {free, object{"service": "x", "image": "cat", "envVars": object{"exec_timeout": "2h"}}, "exec_timeout"},
		"negative timeout":    {free, object{"service": "x", "image": "cat", "envVars": object{"exec_timeout": "-1s"}}, "exec_timeout"},
		"bad inflight":        {free, object{"service": "x", "image": "cat", "envVars": object{"max_inflight": "-1"}}, "max_inflight"},
		"bad inflight label":  {free, object{"service": "x", "image": "cat", "labels": object{"max_inflight": "many"}}, "max_inflight"},
		"bad content type":    {free, object{"service": "x", "image": "cat", "envVars": object{"content_type": "a\r\nb"}}, "content_type"},
		"missing secret":      {free, object{"service": "x", "image": "cat", "secrets": []string{"none"}}, "secret none is not there"},
		"bad name of secret":  {free, object{"service": "x", "image": "cat", "secrets": []string{"../functions.json"}}, "secret name"},
		"shell for http mode": {free, object{"service": "x", "image": "x", "envVars": object{"mode": "http"}}, "envProcess"},
	} {
		t.Run(name, func(t *testing.T) {
			status, text := test.p.do("POST", "/system/functions", test.deployment)
			if status != 400 || !strings.Contains(text, test.want) {
				t.Errorf("%d %s, want 400 with %q", status, text, test.want)
			}
			if strings.Count(text, "\n") != 1 {
				t.Errorf("not one line: %q", text)
			}
		})
	}
	strict.want(200, "[]", "GET", "/system/functions", nil)
	free.want(200, "[]", "GET", "/system/functions", nil)
}

// A command that is missing is an answer that says how to fix it.
func TestMissingPackage(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	o := testOptions(t.TempDir())
	o.AllowProcesses = false
	p := start(t, o)
	p.want(400, "apt-get install tesseract-ocr", "POST", "/system/functions", object{"service": "ocr", "image": "ocr"})
}

func TestCatalogueFunctions(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir())
	o.AllowProcesses = false
	p := start(t, o)
	picture, err := os.ReadFile("testdata/edge-node.png")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, image, process string
		body                 any
		want                 string
	}{
		{"figlet", "ghcr.io/openfaas/figlet:latest", "", "hi", "_"},
		{"shasum", "ghcr.io/openfaas/alpine:latest", "sha512sum", "abc", "ddaf35a193617abacc417349ae204131"},
		{"echo", "ghcr.io/openfaas/alpine:latest", "", "same again", "same again"},
		{"env", "ghcr.io/openfaas/alpine:latest", "env", nil, "Http_Method=POST"},
		{"nodeinfo", "ghcr.io/openfaas/nodeinfo:latest", "", nil, "Linux"},
		{"ocr", "viveksyngh/openfaas-ocr:0.3.0", "", picture, "EDGE NODE"},
	} {
		p.want(202, "", "POST", "/system/functions", object{"service": test.name, "image": test.image, "envProcess": test.process})
		p.want(200, test.want, "POST", "/function/"+test.name, test.body)
	}
}

func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	p := start(t, testOptions(dir))
	p.want(200, "[]", "GET", "/system/secrets?namespace=openfaas-fn", nil)
	p.want(404, "POST", "PUT", "/system/secrets", object{"name": "key", "value": "v"})
	p.want(202, "", "POST", "/system/secrets", object{"name": "key", "namespace": "openfaas-fn", "value": "first"})
	p.want(409, "PUT", "POST", "/system/secrets", object{"name": "key", "value": "again"})
	p.want(202, "", "POST", "/system/secrets", object{"name": "raw", "rawValue": []byte{0, 1, 255}})
	p.want(202, "", "POST", "/system/secrets", object{"name": "key", "namespace": "dev", "value": "elsewhere"})
	if text := p.want(200, "", "GET", "/system/secrets", nil); text !=
		`[{"name":"key","namespace":"openfaas-fn"},{"name":"raw","namespace":"openfaas-fn"}]`+"\n" {
		t.Errorf("list: %s", text)
	}
	for _, name := range []string{"", "..", "../lock", "a/b", ".hidden", strings.Repeat("x", 254)} {
		p.want(400, "secret name", "POST", "/system/secrets", object{"name": name, "value": "v"})
		p.want(400, "secret name", "DELETE", "/system/secrets", object{"name": name})
	}
	info, err := os.Stat(filepath.Join(dir, "secrets", "openfaas-fn", "key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("secret file: %v, %v", info, err)
	}

	p.want(202, "", "POST", "/system/functions", object{"service": "reader", "image": "local", "secrets": []string{"key"},
		"envProcess": script(t, `cat "$secret_mount_path/key"`)})
	p.want(200, "first", "GET", "/function/reader", nil)
	p.want(202, "", "PUT", "/system/secrets", object{"name": "key", "value": "second"})
	p.want(200, "second", "GET", "/function/reader", nil)
	p.want(202, "", "DELETE", "/system/secrets?namespace=openfaas-fn", object{"name": "key"})
	p.want(404, "no secret", "DELETE", "/system/secrets", object{"name": "key"})
	p.want(200, `"dev"`, "GET", "/system/secrets?namespace=dev", nil)
}

func TestLogs(t *testing.T) {
	p := startNew(t)
	p.deploy("noisy", script(t, `cat >/dev/null; echo "line $Http_Path" >&2; exit 4`), nil)
	p.want(404, "", "GET", "/system/logs?name=none", nil)
	p.want(400, "tail", "GET", "/system/logs?name=noisy&tail=x", nil)
	p.want(400, "since", "GET", "/system/logs?name=noisy&since=yesterday", nil)
	p.want(400, "follow", "GET", "/system/logs?name=noisy&follow=perhaps", nil)
	p.want(500, "exit status 4", "GET", "/function/noisy/a", nil)

	log := func(query string) string {
		_, text := p.do("GET", "/system/logs?name=noisy&namespace=openfaas-fn"+query, nil)
		return text
	}
	eventually(t, "both lines of the log", func() bool { return strings.Count(log(""), "\n") == 2 })
	if text := log(""); !strings.Contains(text, `"text":"line /a"`) || !strings.Contains(text, "exit status 4") {
		t.Errorf("log: %s", text)
	}
	if text := log("&tail=1"); strings.Count(text, "\n") != 1 {
		t.Errorf("tail=1: %s", text)
	}
	if text := log("&tail=-1"); strings.Count(text, "\n") != 2 {
		t.Errorf("tail=-1: %s", text)
	}
	if text := log("&since=2999-01-01T00:00:00Z"); text != "" {
		t.Errorf("since the future: %s", text)
	}

	response, err := http.Get(p.url + "/system/logs?name=noisy&follow=true&tail=1")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := json.NewDecoder(response.Body)
	var message logs.Message
	if err := lines.Decode(&message); err != nil {
		t.Fatal(err)
	}
	p.want(500, "", "GET", "/function/noisy/followed", nil)
	for message.Text != "line /followed" {
		if err := lines.Decode(&message); err != nil {
			t.Fatal(err)
		}
	}
	if message.Name != "noisy" || message.Namespace != "openfaas-fn" || message.Timestamp.IsZero() {
		t.Errorf("message: %+v", message)
	}
	p.want(202, "", "DELETE", "/system/functions", object{"functionName": "noisy"})
	for err == nil {
		err = lines.Decode(&message) // ends with the function
	}
}

func TestBasicAuth(t *testing.T) {
	dir := t.TempDir()
	credentials := map[string]string{"basic-auth-user": "admin\n", "basic-auth-password": "open sesame\n"}
	for name, text := range credentials {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := testOptions(t.TempDir())
	o.BasicAuthDir = dir
	p := start(t, o)
	p.want(401, "", "GET", "/system/functions", nil)
	p.want(401, "", "POST", "/system/functions", object{"service": "x", "image": "cat"})
	byName, err := http.NewRequest("GET", p.url+"/system/functions", nil)
	if err != nil {
		t.Fatal(err)
	}
	byName.Host = "edge.example:8080" // whoever knows the password may use a name
	byName.SetBasicAuth("admin", "open sesame")
	if response, err := http.DefaultClient.Do(byName); err != nil || response.StatusCode != 200 {
		t.Errorf("by name: %v, %v", response, err)
	}
	p.want(200, "OK", "GET", "/healthz", nil)

	client, err := faasd.New(faasd.Options{URL: p.url, User: "admin", PasswordFile: filepath.Join(dir, "basic-auth-password")})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if err := client.Deploy(ctx, types.FunctionDeployment{Service: "cat", Image: "cat"}); err != nil {
		t.Fatal(err)
	}
	p.want(200, "for all", "POST", "/function/cat", "for all")

	client, err = faasd.New(faasd.Options{URL: p.url, User: "root", PasswordFile: filepath.Join(dir, "basic-auth-password")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.List(ctx); err == nil || !strings.Contains(err.Error(), "password file") {
		t.Errorf("wrong user: %v", err)
	}
}

// A web page that somebody on this machine looks at must not deploy.
func TestOtherOriginsAreRefused(t *testing.T) {
	p := startNew(t)
	status, _, _ := p.exchange("POST", "/system/functions", object{"service": "x", "image": "cat"},
		http.Header{"Origin": {"https://example.com"}, "Sec-Fetch-Site": {"cross-site"}})
	if status != http.StatusForbidden {
		t.Errorf("%d, want 403", status)
	}
	p.want(200, "[]", "GET", "/system/functions", nil)
}

// Nor may one whose author's name leads to this machine: to its browser the API is
// of the same origin then.
func TestOtherHostsAreRefused(t *testing.T) {
	p := startNew(t)
	ask := func(host string, header http.Header) (int, string) {
		t.Helper()
		request, err := http.NewRequest("POST", p.url+"/system/functions", reader(t, object{"service": "x", "image": "cat"}))
		if err != nil {
			t.Fatal(err)
		}
		request.Host, request.Header = host, header
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(text)
	}
	for _, host := range []string{"evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example:80", "127.1", "0x7f.1", "a]"} {
		status, text := ask(host, http.Header{"Origin": {"http://" + host}, "Sec-Fetch-Site": {"same-origin"}})
		if status != http.StatusForbidden || !strings.Contains(text, "--basic-auth-dir") {
			t.Errorf("%s: %d %s", host, status, text)
		}
	}
	p.want(200, "[]", "GET", "/system/functions", nil)
	for _, host := range []string{"localhost", "LocalHost:8080", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8080", "192.0.2.1:80"} {
		if status, text := ask(host, http.Header{}); status != http.StatusAccepted && status != http.StatusConflict {
			t.Errorf("%s: %d %s", host, status, text)
		}
	}
	// Functions are called by any name: HAProxy passes on what its users wrote.
	request, _ := http.NewRequest("POST", p.url+"/function/x", strings.NewReader("y"))
	request.Host = "edge.example"
	response, err := http.DefaultClient.Do(request)
	if err != nil || response.StatusCode != 200 {
		t.Errorf("%v %v", response, err)
	}
	response.Body.Close()
}

func TestOptionsAreChecked(t *testing.T) {
	empty := t.TempDir()
	blank := t.TempDir()
	for _, name := range []string{"basic-auth-user", "basic-auth-password"} {
		if err := os.WriteFile(filepath.Join(blank, name), []byte("\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for want, change := range map[string]func(*Options){
		"--insecure":      func(o *Options) { o.Listen = ":0" },
		"others could":    func(o *Options) { o.Listen = "0.0.0.0:0" },
		"use HOST:PORT":   func(o *Options) { o.Listen = "127.0.0.1" },
		"basic-auth-user": func(o *Options) { o.BasicAuthDir = empty },
		"is empty":        func(o *Options) { o.BasicAuthDir = blank },
		"--state-dir":     func(o *Options) { o.StateDir = "" },
		"--exec-timeout":  func(o *Options) { o.ExecTimeout = 0 },
		"--max-inflight":  func(o *Options) { o.MaxInflight = 0 },
		"--max-body":      func(o *Options) { o.MaxBody = 0 },
	} {
		o := testOptions(t.TempDir())
		change(&o)
		if _, err := o.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
	for _, listen := range []string{"127.0.0.1:0", "localhost:0", "[::1]:0", "127.9.9.9:1"} {
		o := testOptions(t.TempDir())
		o.Listen = listen
		if _, err := o.check(); err != nil {
			t.Errorf("%s: %v", listen, err)
		}
	}
}

func TestMetrics(t *testing.T) {
	p := startNew(t)
	p.deploy("good", "cat", nil)
	p.deploy("bad", "false", nil)
	p.want(200, "", "POST", "/function/good", "x")
	p.want(500, "", "POST", "/function/bad", "x")
	p.want(404, "", "POST", "/function/none", "x")
	text := p.want(200, "", "GET", "/metrics", nil)
	var got []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "gateway_function_invocation") || strings.HasPrefix(line, "dfaas_provider_refused") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	want := []string{
		`dfaas_provider_refused_total{code="404"} 1`,
		`gateway_function_invocation_started{function_name="bad.openfaas-fn"} 1`,
		`gateway_function_invocation_started{function_name="good.openfaas-fn"} 1`,
		`gateway_function_invocation_total{code="200",function_name="good.openfaas-fn"} 1`,
		`gateway_function_invocation_total{code="500",function_name="bad.openfaas-fn"} 1`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	p.want(202, "", "DELETE", "/system/functions", object{"functionName": "bad"})
	if text := p.want(200, "", "GET", "/metrics", nil); strings.Contains(text, "bad.openfaas-fn") {
		t.Error("a removed function is still in the metrics")
	}
}

// The controller's view of the provider.
func TestClientWatchesProvider(t *testing.T) {
	p := startNew(t)
	client, err := faasd.New(faasd.Options{URL: p.url})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	snapshots := client.Watch(ctx, 10*time.Millisecond)
	see := func(want string) {
		t.Helper()
		var got []string
		eventually(t, want, func() bool {
			got = nil
			s := <-snapshots
			for _, f := range s.Functions {
				got = append(got, fmt.Sprintf("%s %v %d", f.Name, f.Labels.MaxRate, f.Ready))
				if !f.ReadyKnown {
					t.Errorf("it is not known whether %s is ready", f.Name)
				}
			}
			return s.Err == nil && strings.Join(got, ", ") == want
		})
	}
	see("")
	cat := types.FunctionDeployment{Service: "cat", Image: "cat", Labels: &map[string]string{"dfaas.maxrate": "10"}}
	inDev := types.FunctionDeployment{Service: "cat", Image: "cat", Namespace: "dev"}
	if err := errors.Join(client.Deploy(ctx, cat), client.Deploy(ctx, inDev)); err != nil {
		t.Fatal(err)
	}
	see("cat 10 1, cat.dev 0 1")
	cat.Labels = &map[string]string{"dfaas.maxrate": "20"}
	if err := client.Update(ctx, cat); err != nil {
		t.Fatal(err)
	}
	p.want(202, "", "POST", "/system/scale-function/cat?namespace=dev", object{"replicas": 0})
	see("cat 20 1, cat.dev 0 0")
	if err := client.Remove(ctx, "cat.dev"); err != nil {
		t.Fatal(err)
	}
	see("cat 20 1")
	info, err := client.Info(ctx)
	if err != nil || info.Provider.Name != "dfaas-provider" || info.Provider.Orchestration != "processes" {
		t.Errorf("info: %+v, %v", info, err)
	}
	if err := client.Healthy(ctx); err != nil {
		t.Error(err)
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an error", func() bool { return (<-snapshots).Err != nil })
}
