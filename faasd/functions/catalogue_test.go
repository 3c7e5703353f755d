package functions

import (
	"os/exec"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	catalogue, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	for image, want := range map[string]string{
		"ghcr.io/openfaas/figlet:latest":        "figlet",
		"openfaas/figlet":                       "figlet",
		"figlet":                                "figlet",
		"localhost:5000/figlet:0.1":             "figlet",
		"localhost:5000/figlet":                 "figlet",
		"ghcr.io/openfaas/figlet@sha256:abc":    "figlet",
		"ghcr.io/openfaas/figlet:1@sha256:abc":  "figlet",
		"viveksyngh/openfaas-ocr:0.3.0":         "ocr",
		"ghcr.io/openfaas/alpine:latest":        "alpine",
		"ghcr.io/openfaas/figlet2:latest":       "",
		"figlet/other":                          "",
		"":                                      "",
		":latest":                               "",
		"ghcr.io/openfaas/":                     "",
		"FIGLET":                                "",
		"ghcr.io/openfaas/nodeinfo:latest":      "nodeinfo",
		"registry.example:5000/a/b/c/sleep:1.2": "sleep",
	} {
		got := ""
		if entry := catalogue.Find(image); entry != nil {
			got = entry.Name
		}
		if got != want {
			t.Errorf("Find(%q) = %q, want %q", image, got, want)
		}
	}
}

func TestAllows(t *testing.T) {
	catalogue, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	alpine := catalogue.Find("alpine")
	for command, want := range map[string]bool{
		"cat": true, "sha512sum": true, "env": true,
		"": false, "sh": false, "cat /etc/shadow": false, "env sh": false, "figlet": false,
	} {
		if got := alpine.Allows(command); got != want {
			t.Errorf("alpine allows %q: %v, want %v", command, got, want)
		}
	}
}

// No command of the catalogue may take its arguments apart or start a shell:
// that is what makes it safe to deploy by anybody.
func TestCommandsAreInstalledAndPlain(t *testing.T) {
	catalogue, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range catalogue.Entries() {
		for _, command := range append([]string{entry.Command}, entry.Others...) {
			program := strings.Fields(command)[0]
			if program == Program {
				continue // built in
			}
			if _, err := exec.LookPath(program); err != nil {
				t.Errorf("%s: %v (package %s)", entry.Name, err, entry.Package)
			}
			if program == "sh" || program == "bash" || strings.ContainsAny(command, "$`;|&<>'\"\\") {
				t.Errorf("%s: %q is not a plain command", entry.Name, command)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		``, `{}`, `[{}]`, `[{"name":"a","command":"b"}]`,
		`[{"name":"a","command":"b","images":["x"],"shell":true}]`,
		`[{"name":"a","command":"b","images":["x","x"]}]`,
	} {
		if _, err := parse([]byte(text)); err == nil {
			t.Errorf("parse(%s) succeeded", text)
		}
	}
}

func FuzzFind(f *testing.F) {
	f.Add("ghcr.io/openfaas/figlet:latest")
	f.Add("a@b:c/d@e")
	catalogue, err := Load()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, image string) {
		if entry := catalogue.Find(image); entry != nil && !strings.Contains(image, repository(image)) {
			t.Errorf("Find(%q) = %q", image, entry.Name)
		}
	})
}
