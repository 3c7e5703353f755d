package limit

import (
	"math"
	"strings"
	"testing"
)

func TestNewRate(t *testing.T) {
	for _, good := range []float64{0, 1e-300, 0.25, 1, MaxRate} {
		if r, err := NewRate(good); err != nil || r.PerSecond() != good {
			t.Errorf("%v is read as %v, %v", good, r, err)
		}
		if b, err := NewBound(good); err != nil || b.PerSecond() != good || b.IsUnlimited() {
			t.Errorf("%v is read as the bound %v, %v", good, b, err)
		}
	}
	for bad, why := range map[float64]string{
		-1e-300: "-1e-300 is not within 0 and 1e+06 requests/s", -2: "-2 is not within", MaxRate + 0.001: "is not within", 1e300: "is not within",
		math.Inf(1): "+Inf is not a number of requests/s", math.Inf(-1): "-Inf is not a number", math.NaN(): "NaN is not a number",
	} {
		if r, err := NewRate(bad); err == nil || !strings.Contains(err.Error(), why) || r != (Rate{}) {
			t.Errorf("%v is read as %v, %v", bad, r, err)
		}
		if b, err := NewBound(bad); err == nil || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), ", nor -1 for unlimited") || b != (Bound{}) {
			t.Errorf("%v is read as the bound %v, %v", bad, b, err)
		}
	}
	for _, x := range []float64{math.Copysign(0, -1), 0} {
		r, _ := NewRate(x)
		b, _ := NewBound(x)
		if math.Signbit(r.PerSecond()) || math.Signbit(b.PerSecond()) || math.Signbit(NearestRate(x).PerSecond()) {
			t.Errorf("%v has kept its sign", x)
		}
	}
}

func TestUnlimited(t *testing.T) {
	if _, err := NewRate(-1); err == nil {
		t.Error("a rate is without limit")
	}
	b, err := NewBound(-1)
	if err != nil || b != Unlimited() || !b.IsUnlimited() || b.PerSecond() != -1 || b.Rounded() != b || b.Rate() != (Rate{}) || b.String() != "unlimited" {
		t.Errorf("-1 is read as the bound %v, %v", b, err)
	}
	most := NearestRate(MaxRate)
	if most.Exceeds(b) || most.Exceeds(most.Bound()) || !most.Exceeds(Bound{}) {
		t.Error("a rate exceeds what it does not")
	}
}

func TestThousandths(t *testing.T) {
	for _, n := range []uint64{0, 1, 999, 12_345, 1_000_000_000} {
		if r, err := RateOfThousandths(n); err != nil || r.Thousandths() != n || r.Rounded() != r {
			t.Errorf("%d thousandths are read as %v, %v", n, r, err)
		}
	}
	for _, n := range []uint64{1_000_000_001, math.MaxUint64} {
		if r, err := RateOfThousandths(n); err == nil {
			t.Errorf("%d thousandths are read as %v", n, r)
		}
	}
}

// FuzzRate: whatever made a number, what is made of it is a rate; and what is one stays
// what it is.
func FuzzRate(f *testing.F) {
	for _, x := range []float64{0, -1, 0.0004, 1, MaxRate, MaxRate + 1e-9, 1e300, math.Inf(1), math.Inf(-1), math.NaN()} {
		f.Add(x)
	}
	f.Fuzz(func(t *testing.T, x float64) {
		near := NearestRate(x)
		for _, r := range []Rate{near, near.Rounded()} {
			if again, err := NewRate(r.PerSecond()); err != nil || again != r {
				t.Errorf("%v is nearest to %v, and refused: %v", r, x, err)
			}
			if b, err := NewBound(r.PerSecond()); err != nil || b != r.Bound() || b.Rate() != r {
				t.Errorf("%v is not the bound %v, %v", r, b, err)
			}
		}
		if of, err := RateOfThousandths(near.Thousandths()); err != nil || of != near.Rounded() || math.Abs(of.PerSecond()-near.PerSecond()) > 0.0005+1e-9 {
			t.Errorf("%v is sent as %v, %v, and rounded to %v", near, of, err, near.Rounded())
		}
		if r, err := NewRate(x); (err == nil) != ValidRate(x) || err == nil && r != near {
			t.Errorf("%v is read as %v, %v, and nearest to %v", x, r, err, near)
		}
	})
}
