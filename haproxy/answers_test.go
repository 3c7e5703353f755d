package haproxy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseAnswers(t *testing.T) {
	t.Parallel()
	got, err := parseAnswers("# table: be_dfaas_peers, type: string, size:4096, used:5\n" +
		"0x55d1: key=A/function/f use=0 exp=0 gpt0=1 gpc0=7 gpc1=8 gpc2=9\n" +
		"0x55d2: key=A/async-function/f use=1 exp=0 shard=0 gpt0=0 gpc0=0 gpc1=4294967295 gpc2=0\n" +
		"0x55d3: key=A use=0 exp=0 shard=0 gpt0=1 gpc0=0 gpc1=0 gpc2=0\n" +
		"0x55d4: key=B/function/g.other use=0 exp=0 shard=0 gpt0=1 gpc0=1 gpc1=0 gpc2=0\n" +
		"0x55d4: key=old use=0 exp=0 gpc0=7 gpc1=8\n" +
		"0x55d5: key=C/function/../x use=0 exp=0 shard=0 gpt0=1 gpc0=0 gpc1=0 gpc2=0\n\n")
	want := []answersRow{
		{"A", Function{"f", false}, Answers{Served: 8, Lost: 7, Left: 9}},
		{"A", Function{"f", true}, Answers{Served: 1<<32 - 1}},
		{"A", Function{}, Answers{}},
		{"B", Function{"g.other", false}, Answers{Lost: 1}},
		{"old", Function{}, Answers{Served: 8, Lost: 7}},
		{"C", Function{"../x", false}, Answers{}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(answersRow{})); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	for i, want := range []string{"A/function/f", "A/async-function/f", "A", "B/function/g.other", "old", ""} {
		if key, ours := got[i].key(); ours != (want != "") || ours && key != want {
			t.Errorf("%+v has the key %q, %v, want %q", got[i], key, ours, want)
		}
	}
	byPeer := map[string]map[Function]Answers{
		"A": {{"f", false}: want[0].answers, {"f", true}: want[1].answers}, "B": {{"g.other", false}: {Lost: 1}}, "C": {{"../x", false}: {}},
	}
	if diff := cmp.Diff(byPeer, answersOf(got)); diff != "" {
		t.Error(diff)
	}
	for _, answer := range []string{
		"", "Unknown parameter",
		"# table: x\n0x1: key=A/function/f gpc0=-1 gpc1=0 gpc2=0\n",
		"# table: x\n0x1: key=A/function/f gpc0=0 gpc1=x gpc2=0\n",
		"# table: x\n0x1: key=A/function/f gpc0=0 gpc1=0 gpc2=-1\n",
		"# table: x\n0x1: key=A/function/f gpc0=0 gpc2=0\n",
		"# table: x\n0x1: gpc0=0 gpc1=0 gpc2=0\n",
	} {
		if got, err := parseAnswers(answer); err == nil {
			t.Errorf("%q: %v, want an error", answer, got)
		}
	}
}

func FuzzParseAnswers(f *testing.F) {
	f.Add("# table: be_dfaas_peers, type: string, size:4096, used:1\n0x55d1: key=A/function/f use=0 exp=0 gpt0=1 gpc0=7 gpc1=8 gpc2=9\n")
	f.Fuzz(func(t *testing.T, answer string) {
		rows, err := parseAnswers(answer)
		if err != nil && rows != nil {
			t.Error("rows and an error")
		}
		for _, r := range rows {
			if r.peer == "" || min(r.answers.Served, r.answers.Lost, r.answers.Left) < 0 {
				t.Errorf("accepted %+v", r)
			}
			if key, ours := r.key(); ours && r.function.Name != "" && strings.ContainsAny(key[len(r.peer):], " ;\n\\") {
				t.Errorf("%q could become a part of a command", key)
			}
		}
	})
}
