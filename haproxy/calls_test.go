package haproxy

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseCalls(t *testing.T) {
	got, err := parseCalls("# table: be_dfaas_local, type: string, size:4096, used:3\n" +
		"0x55d1: key=cat use=1 exp=0 conn_cur=2 http_req_cnt=9 http_fail_cnt=3\n" +
		"0x55d2: key=cat.dev use=0 exp=0 shard=0 conn_cur=0 http_req_cnt=4294967295 http_fail_cnt=0\n" +
		"0x55d3: key=counted-by-an-older-drop-in use=0 exp=0\n")
	want := map[string]Calls{"cat": {Begun: 9, UnderWay: 2, Failed: 3}, "cat.dev": {Begun: 4294967295}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	for _, answer := range []string{
		"", "Unknown parameter", "# table: x\n0x1: key=A conn_cur=-1 http_req_cnt=0 http_fail_cnt=0\n",
		"# table: x\n0x1: key=A conn_cur=0 http_req_cnt=x http_fail_cnt=0\n", "# table: x\n0x1: key=A conn_cur=0 http_req_cnt=1\n",
	} {
		if got, err := parseCalls(answer); err == nil {
			t.Errorf("%q is read as %v", answer, got)
		}
	}
}

func FuzzParseCalls(f *testing.F) {
	f.Add("# table: be_dfaas_local, type: string, size:4096, used:1\n0x55d1: key=cat use=1 exp=0 conn_cur=2 http_req_cnt=9 http_fail_cnt=3\n")
	f.Fuzz(func(t *testing.T, answer string) {
		calls, err := parseCalls(answer)
		if err != nil && calls != nil {
			t.Error("calls and an error")
		}
		for name, c := range calls {
			if name == "" || c.Begun < 0 || c.UnderWay < 0 || c.Failed < 0 {
				t.Errorf("%q: %+v", name, c)
			}
		}
	})
}
