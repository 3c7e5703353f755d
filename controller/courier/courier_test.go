package courier

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/spoa/control"
	"github.com/dfaas/dfaas/spoa/grant"
)

// ends are the two that are carried between.
type ends struct {
	counted haproxy.Unasked
	grants  grant.Grants

	countErr, grantErr, spoaErr error
	hangs                       bool // HAProxy

	reads   int
	reports []grant.Report
	granted [][]haproxy.Grant
}

func (e *ends) Unasked(ctx context.Context) (haproxy.Unasked, error) {
	e.reads++
	if e.hangs {
		<-ctx.Done()
		return haproxy.Unasked{}, ctx.Err()
	}
	return e.counted, e.countErr
}

func (e *ends) Grant(_ context.Context, _ haproxy.Unasked, grants []haproxy.Grant) error {
	e.granted = append(e.granted, grants)
	return e.grantErr
}

// agent is the other end.
type agent struct{ *ends }

func (a agent) Unasked(_ context.Context, r grant.Report) (grant.Grants, error) {
	a.reports = append(a.reports, r)
	return a.grants, a.spoaErr
}

func TestCarries(t *testing.T) {
	e := &ends{
		counted: haproxy.Unasked{On: true, Run: "7-1", Functions: map[string]haproxy.UnaskedFunction{
			"f": {Count: 5}, "last": {Count: math.MaxUint32}, "uncalled": {TimeoutMillis: 9},
		}},
		grants: grant.Grants{Functions: map[string]grant.Grant{
			"f": {Calls: 100, TimeoutMillis: 1500}, "last": {Calls: 3}, "new": {Calls: 4}, "taken": {}, "toomany": {Calls: math.MaxUint32, TimeoutMillis: -1},
		}},
	}
	c := New(e, agent{e}, zerolog.Nop())
	if c.Status() != nil {
		t.Error("a status before the first round")
	}
	c.Carry(t.Context())
	if diff := cmp.Diff([]grant.Report{{Run: "7-1", Counted: map[string]uint32{"f": 5, "last": math.MaxUint32}}}, e.reports); diff != "" {
		t.Errorf("reports differ (-want +got):\n%s", diff)
	}
	want := [][]haproxy.Grant{{
		{Function: "f", UpTo: 105, TimeoutMillis: 1500}, {Function: "last", UpTo: 2}, {Function: "new", UpTo: 4},
		{Function: "taken"}, {Function: "toomany", UpTo: grant.MaxCalls},
	}}
	if diff := cmp.Diff(want, e.granted); diff != "" {
		t.Errorf("grants differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&Status{Functions: 4}, c.Status()); diff != "" {
		t.Errorf("status differs (-want +got):\n%s", diff)
	}
}

// TestPauses where there is nothing to carry, or nobody to carry to, and says why.
func TestPauses(t *testing.T) {
	broken := errors.New("broken")
	on := haproxy.Unasked{On: true, Run: "7-1"}
	for name, test := range map[string]struct {
		ends ends
		want string // in the status; "": none
	}{
		"it is off":               {ends{}, ""},
		"HAProxy is not running":  {ends{countErr: broken}, ""},
		"the agent is older":      {ends{counted: on, spoaErr: control.ErrOlder}, "upgrade it"},
		"HAProxy takes no grants": {ends{counted: on, grantErr: broken}, "broken"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := test.ends
				c := New(&e, agent{&e}, zerolog.Nop())
				for range 9 {
					c.Carry(t.Context())
					time.Sleep(time.Second)
				}
				if e.reads != 2 {
					t.Errorf("%d reads in nine seconds, want 2", e.reads)
				}
				switch s := c.Status(); {
				case test.want == "" && s != nil, test.want != "" && (s == nil || s.Err == nil || !strings.Contains(s.Err.Error(), test.want)):
					t.Errorf("status %+v, want %q", s, test.want)
				}
			})
		})
	}
}

// TestAgentIsBack: an agent that has died is granted from as soon as it answers again.
func TestAgentIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ends{
			counted: haproxy.Unasked{On: true, Run: "7-1"}, grants: grant.Grants{Functions: map[string]grant.Grant{"f": {Calls: 100}}},
			spoaErr: errors.New("connection refused"),
		}
		c := New(e, agent{e}, zerolog.Nop())
		for range 3 {
			c.Carry(t.Context())
			if s := c.Status(); s == nil || !errors.Is(s.Err, e.spoaErr) {
				t.Errorf("status %+v without an agent", s)
			}
			time.Sleep(100 * time.Millisecond)
		}
		e.spoaErr = nil
		c.Carry(t.Context())
		if s := c.Status(); len(e.granted) != 1 || s == nil || s.Err != nil || s.Functions != 1 {
			t.Errorf("granted %v, status %+v", e.granted, s)
		}
	})
}

// TestHangs: an HAProxy that hangs holds up nobody for long, and what has failed works
// again.
func TestHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ends{counted: haproxy.Unasked{On: true, Run: "7-1"}}
		var log strings.Builder
		c := New(e, agent{e}, zerolog.New(&log))
		c.Carry(t.Context())
		e.hangs = true
		begun := time.Now()
		c.Carry(t.Context())
		if took := time.Since(begun); took != roundTimeout {
			t.Errorf("a round took %s, want %s", took, roundTimeout)
		}
		if s := c.Status(); s == nil || !errors.Is(s.Err, context.DeadlineExceeded) {
			t.Errorf("status %+v", s)
		}
		e.hangs = false
		time.Sleep(pause)
		c.Carry(t.Context())
		e.counted.On = false
		c.Carry(t.Context())
		if s := c.Status(); s != nil {
			t.Errorf("status %+v of what is off", s)
		}
		var said []string
		for line := range strings.Lines(log.String()) {
			_, message, _ := strings.Cut(line, `"message":"fast path: `)
			said = append(said, strings.TrimSuffix(strings.TrimSpace(message), `"}`))
		}
		want := []string{
			"calls of functions that are far from their limits are served without a question", "every call is asked about",
			"calls of functions that are far from their limits are served without a question", "off, every call is asked about",
		}
		if diff := cmp.Diff(want, said); diff != "" {
			t.Errorf("log differs (-want +got):\n%s", diff)
		}
	})
}
