package membership

import (
	"fmt"
	"testing"
	"time"
)

func TestRefusalsAreBounded(t *testing.T) {
	var r Refusals
	now := time.Unix(1000, 0)
	for i := range 3 * maxRefusals {
		r.Add(now.Add(time.Duration(i)), fmt.Sprintf("p%04d", i), "no")
	}
	list := r.List(now.Add(time.Second))
	if len(list) != maxRefusals {
		t.Fatalf("%d entries", len(list))
	}
	if oldest := list[0].Peer; oldest != fmt.Sprintf("p%04d", 2*maxRefusals) {
		t.Errorf("oldest kept is %s: the oldest should have given way", oldest)
	}
}

func TestRefusalsCountAndAge(t *testing.T) {
	var r Refusals
	now := time.Unix(1000, 0)
	for i, step := range []struct {
		reason string
		news   bool
	}{{"a", true}, {"a", false}, {"b", true}} {
		if news := r.Add(now, "p", step.reason); news != step.news {
			t.Errorf("step %d: news %v", i, news)
		}
	}
	r.Add(now, "q", "a")
	r.Forget("q")
	if list := r.List(now.Add(refusalAge)); len(list) != 1 || list[0] != (Refusal{"p", "b", 3, now}) {
		t.Errorf("got %+v", list)
	}
	if list := r.List(now.Add(refusalAge + 1)); len(list) != 0 {
		t.Errorf("old entries are still shown: %+v", list)
	}
}
