package estimate

import (
	"math/rand/v2"
	"testing"
	"time"
)

// healthRun looks at a function every 400 ms.
type healthRun struct {
	h     Health
	now   time.Time
	total Calls
}

// look lets calls end, of which some fail, and returns the condition then.
func (r *healthRun) look(ended, failed int64) Condition {
	r.now = r.now.Add(400 * time.Millisecond)
	r.total = Calls{r.total.Ended + ended, r.total.Failed + failed}
	r.h.Observe(r.now, r.total)
	return r.h.Condition(r.now)
}

func newHealthRun() *healthRun {
	r := &healthRun{now: time.Unix(1000, 0)}
	r.look(0, 0)
	return r
}

func TestHealth(t *testing.T) {
	r := newHealthRun()
	for range 1000 {
		if r.look(10, 1) != Healthy {
			t.Fatal("a tenth of failed calls is a failing function")
		}
	}
	if r.look(10, 10) != Failing {
		t.Fatal("not seen at the first look")
	}
	begun := r.now
	for r.look(1, 1) == Failing {
	}
	if pause := r.now.Sub(begun); pause < firstPause || pause > firstPause+time.Second {
		t.Errorf("tried again after %v", pause)
	}
	// Each trial that fails is followed by a pause longer by a quarter, up to a bound.
	for _, want := range []float64{1.25, 1.56, 1.95, 2.44, 3.05, 3.81, 4.77, 5.96, 7.45, 9.31, 11.64, 14.55, 18.19, 22.74, 28.42, 35.53, 44.41, 55.51, 60, 60} {
		if r.look(2, 2) != Failing {
			t.Fatal("a trial that fails ends as if it had not")
		}
		begun = r.now
		for r.look(0, 0) == Failing {
		}
		if late := r.now.Sub(begun).Seconds() - want; late < -0.1 || late > 0.4 { // 400 ms between two looks
			t.Errorf("tried again %v s after %v s", late, want)
		}
	}
	if r.look(2, 0) != Healthy {
		t.Error("a trial that succeeds does not end it")
	}
}

func TestHealthOfWhatIsHardlyCalled(t *testing.T) {
	r := newHealthRun()
	for range 4 {
		if r.look(1, 1) != Healthy {
			t.Fatal("judged by less than five calls")
		}
	}
	if r.look(1, 1) != Failing {
		t.Fatal("five failed calls are not seen")
	}
	for r.look(0, 0) == Failing {
	}
	for range int(trialTime/(400*time.Millisecond)) + 1 {
		r.look(0, 0)
	}
	if r.h.Condition(r.now) != Healthy {
		t.Error("a trial that nobody sees never ends")
	}
	// What failed an hour ago has nothing to do with what fails now.
	r = newHealthRun()
	r.look(4, 4)
	r.now = r.now.Add(time.Hour)
	if r.look(1, 1) != Healthy {
		t.Error("judged by what failed an hour ago")
	}
}

func TestHealthAfterAnotherHAProxy(t *testing.T) {
	r := newHealthRun()
	r.look(1000, 0)
	r.total = Calls{}
	if r.look(10, 10) != Failing {
		t.Error("the calls counted since HAProxy started anew are not seen")
	}
	// What was counted before the first look may be old.
	old := &healthRun{now: time.Unix(1000, 0)}
	if old.look(1000, 1000) != Healthy {
		t.Error("judged by what an earlier run has seen")
	}
}

// Whatever is counted: it fails only while calls fail, a pause is bounded, and with
// nothing but good answers it is healthy again.
func TestHealthHolds(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		r := newHealthRun()
		var since time.Time
		for range 200 {
			ended := rng.Int64N(8)
			is := r.look(ended, rng.Int64N(ended+1))
			if is != Failing {
				since = time.Time{}
			} else if since.IsZero() {
				since = r.now
			} else if r.now.Sub(since) > maxPause+time.Second {
				t.Fatalf("failing for %v", r.now.Sub(since))
			}
		}
		for range int((maxPause + trialTime) / (400 * time.Millisecond)) {
			r.look(3, 0)
		}
		if is := r.h.Condition(r.now); is != Healthy {
			t.Fatalf("condition %d although all calls have been answered well", is)
		}
		good := newHealthRun()
		for range 100 {
			if ended := rng.Int64N(100); good.look(ended, ended/10) != Healthy {
				t.Fatal("a function that is well is taken for failing")
			}
		}
	}
}
