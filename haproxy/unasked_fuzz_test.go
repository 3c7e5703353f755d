package haproxy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/internal/funcname"
)

const unaskedAnswer = `DFAAS_FAST_PATH=on

Name: HAProxy
Version: 2.6.12-1+deb12u4
Pid: 27601
Uptime: 0d 0h00m01s
Start_time_sec: 1795984014

# table: be_dfaas_local, type: string, size:4096, used:2
0x7f6dec046f78: key=f use=0 exp=2000 gpt0=100 gpc0=4294967295 conn_cur=0 http_req_cnt=1 http_fail_cnt=0
0x7f6dec046f79: key=idle use=0 exp=2000 gpt0=0 gpc0=0 conn_cur=0 http_req_cnt=1 http_fail_cnt=0
0x7f6dec046f80: key=/no/name use=0 exp=2000 gpt0=0 gpc0=1 conn_cur=0 http_req_cnt=1 http_fail_cnt=0

`

func TestParseUnasked(t *testing.T) {
	got, err := parseUnasked(unaskedAnswer)
	want := Unasked{On: true, Run: "27601-1795984014", Functions: map[string]UnaskedFunction{"f": {Count: 1<<32 - 1, TimeoutMillis: 100}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, differs (-want +got):\n%s", err, diff)
	}
	for _, off := range []string{"DFAAS_FAST_PATH=off\n\nPid: 1\n", "DFAAS_FAST_PATH=\n", ""} {
		if got, err := parseUnasked(off); err != nil || got.On {
			t.Errorf("%q: %+v, %v", off, got, err)
		}
	}
	for broken, want := range map[string]string{
		"Pid: ":         "does not tell its process",
		"# table: ":     "table expected",
		"gpc0=42949672": "row of a table expected",
	} {
		text := strings.Replace(unaskedAnswer, broken, "x"+broken, 1)
		if broken == "gpc0=42949672" {
			text = strings.Replace(unaskedAnswer, broken, broken+"0", 1)
		} else if broken == "# table: " {
			text = strings.Replace(unaskedAnswer, broken, "", 1)
		}
		if _, err := parseUnasked(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("without %q: %v, want %q", broken, err, want)
		}
	}
}

// FuzzParseUnasked: whatever HAProxy says, names are names.
func FuzzParseUnasked(f *testing.F) {
	f.Add(unaskedAnswer)
	f.Add("DFAAS_FAST_PATH=on\nPid: 1\n# table: t\n")
	f.Fuzz(func(t *testing.T, answer string) {
		u, err := parseUnasked(answer)
		if err != nil {
			return
		}
		if u.On != (u.Run != "") {
			t.Errorf("%+v", u)
		}
		for name := range u.Functions {
			if !funcname.Valid(name) {
				t.Errorf("%q is no name", name)
			}
		}
	})
}

// TestGrantCommands fit into a line each that HAProxy reads.
func TestGrantCommands(t *testing.T) {
	g := Grant{Function: "f", UpTo: 7, TimeoutMillis: 100}
	for _, test := range []struct {
		grant  Grant
		before UnaskedFunction
		want   []string
	}{
		{g, UnaskedFunction{TimeoutMillis: 100}, []string{"set table be_dfaas_granted key function/f data.gpt0 7"}},
		{g, UnaskedFunction{}, []string{"set table be_dfaas_local key f data.gpt0 100", "set table be_dfaas_granted key function/f data.gpt0 7"}},
		{Grant{Function: "f"}, UnaskedFunction{TimeoutMillis: 100}, []string{"set table be_dfaas_granted key function/f data.gpt0 0"}},
	} {
		if diff := cmp.Diff(test.want, test.grant.commands(test.before)); diff != "" {
			t.Errorf("%+v: commands differ (-want +got):\n%s", test.grant, diff)
		}
	}
}
