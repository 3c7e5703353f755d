package agent

import (
	"testing"

	"github.com/dfaas/dfaas/spoa/route"
)

func TestParseAgain(t *testing.T) {
	for text, want := range map[string][2]int32{
		"2-7": {2, 7}, "3-2147483647": {3, 2147483647}, "2-gateway": {2, 0},
		"": {}, "-": {}, "2": {}, "2-": {}, "-7": {}, "1-7": {}, "4-7": {}, "2-0": {}, "2--7": {}, "+2-7": {}, "2-Gateway": {}, "2-gateway ": {},
		"2-2147483648": {}, "x-7": {}, "2-7-7": {},
	} {
		if question, mark := parseAgain(text); question != int(want[0]) || mark != want[1] {
			t.Errorf("%q was read as %d, %d", text, question, mark)
		}
	}
}

func FuzzParseAgain(f *testing.F) {
	f.Add("2-7")
	f.Add("2-gateway")
	f.Fuzz(func(t *testing.T, text string) {
		if question, mark := parseAgain(text); question != 0 && (question < 2 || question > route.MaxQuestions) || mark < 0 || question == 0 && mark != 0 {
			t.Errorf("%q was read as %d, %d", text, question, mark)
		}
	})
}
