package service

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/haproxy"
)

func TestParseEnvironment(t *testing.T) {
	got := parseEnvironment(`# a comment
; another
A=plain
 B = "in quotes" 
C='single \ quotes'
D=a\ b
E="say \"x\""
F=
G=1
G=2
H=con\
tinued
not a setting
=nothing
`)
	want := map[string]string{
		"A": "plain", "B": "in quotes", "C": `single \ quotes`, "D": "a b", "E": `say "x"`, "F": "", "G": "2", "H": "continued",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzParseEnvironment(f *testing.F) {
	f.Add("A=\"b\\\nc'")
	f.Fuzz(func(t *testing.T, text string) {
		for name, value := range parseEnvironment(text) {
			if name == "" || strings.Contains(name+value, "\n") || len(value) > len(text) {
				t.Errorf("%q: %q=%q", text, name, value)
			}
		}
	})
}

func TestSettings(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	main := write("haproxy.cfg", "frontend a\n    bind :80\n    bind \"127.0.0.1:81\" ssl\n    bind \"${OTHER}\"\n#   bind :82\n")
	// An operator changed a default in the drop-in itself.
	dropIn := write(DropInFile, strings.Replace(haproxy.Config(), `presetenv DFAAS_STATS "127.0.0.1:8404"`, `presetenv DFAAS_STATS "127.0.0.1:9999"`, 1))
	file := write("default", "CONFIG="+main+"\nEXTRAOPTS=\"-S /run/master.sock -f "+dropIn+"\"\nDFAAS_GATEWAY=10.0.0.1:8080\nDFAAS_BIND=:1\n")

	s, err := Load(file, []string{"DFAAS_BIND=:2", "CONFIG=/elsewhere", "EXTRAOPTS="})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		haproxy.EnvGateway: "10.0.0.1:8080", haproxy.EnvBind: ":2", haproxy.EnvStats: "127.0.0.1:9999", haproxy.EnvTLSBind: "off",
		haproxy.EnvSPOEConf: "/etc/haproxy/dfaas-spoe.conf", haproxy.EnvInstance: "0", "NONE": "",
	} {
		if got := s.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := s.Chroot(); got != "/" {
		t.Errorf("chroot %q", got)
	}
	write("haproxy.cfg", "global\n\tchroot /var/lib/haproxy # as Debian\nfrontend a\n    bind :80\n    bind \"127.0.0.1:81\" ssl\n")
	if got := s.Chroot(); got != "/var/lib/haproxy" {
		t.Errorf("chroot %q", got)
	}
	write("haproxy.cfg", "frontend a\n    bind :80\n    bind \"127.0.0.1:81\" ssl\n    bind \"${OTHER}\"\n#   bind :82\n")
	if !s.Loaded() || !slices.Equal(s.Files(), []string{main, dropIn}) {
		t.Errorf("files: %q", s.Files())
	}
	if diff := cmp.Diff([]Bind{{main, 2, ":80"}, {main, 3, "127.0.0.1:81"}}, s.OtherBinds()); diff != "" {
		t.Error(diff)
	}

	// As Debian installs it, and with directories of files.
	s, err = Load(filepath.Join(dir, "none"), nil)
	if err != nil || s.Loaded() || !slices.Equal(s.Options(), []string{"-f", "/etc/haproxy/haproxy.cfg", "-S", "/run/haproxy-master.sock"}) {
		t.Errorf("%q, %v", s.Options(), err)
	}
	s, err = Load(write("default", "CONFIG="+dir), nil)
	if err != nil || !slices.Equal(s.Files(), []string{dropIn, main}) {
		t.Errorf("%q, %v", s.Files(), err)
	}
}

// Every default of the drop-in is found.
func TestPresets(t *testing.T) {
	got := presets(haproxy.Config())
	for _, name := range []string{
		haproxy.EnvBind, haproxy.EnvGateway, haproxy.EnvNodeID, haproxy.EnvStats, haproxy.EnvSPOA, haproxy.EnvSPOEConf, haproxy.EnvInstance,
		haproxy.EnvTLSBind, haproxy.EnvTLSDir,
	} {
		if got[name] == "" {
			t.Errorf("%s has no default", name)
		}
	}
}
