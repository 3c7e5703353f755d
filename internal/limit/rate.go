package limit

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
)

// MaxRate is the highest rate, requests/s. Sums of such rates are far from overflow.
const MaxRate = 1e6

// Rate is a rate in requests/s, 0 to MaxRate. There is no other than one that NewRate
// accepts, or NearestRate has made; the zero value is the rate 0. Rates are comparable.
type Rate struct{ perSecond float64 }

// NewRate returns the rate of so many requests/s, or an error that says what is wrong.
func NewRate(perSecond float64) (Rate, error) {
	if ValidRate(perSecond) {
		return Rate{perSecond + 0}, nil // + 0 turns -0 into 0
	}
	return Rate{}, notRate(perSecond)
}

// NearestRate returns the rate that is nearest to a result of arithmetic: 0 for what is
// negative or no number, MaxRate for what is more.
func NearestRate(perSecond float64) Rate {
	if !(perSecond > 0) {
		return Rate{}
	}
	return Rate{min(perSecond, MaxRate)}
}

// ValidRate reports whether NewRate accepts so many requests/s, for those who do not keep
// it.
func ValidRate(perSecond float64) bool { return perSecond >= 0 && perSecond <= MaxRate }

func notRate(perSecond float64) error {
	if math.IsNaN(perSecond) || math.IsInf(perSecond, 0) {
		return fmt.Errorf("%v is not a number of requests/s", perSecond)
	}
	return fmt.Errorf("%v is not within 0 and %v requests/s", perSecond, float64(MaxRate))
}

// milli is a request/s in the unit that rates are sent in.
const milli = 1000

// RateOfThousandths returns the rate of so many thousandths of a request/s.
func RateOfThousandths(n uint64) (Rate, error) { return NewRate(float64(n) / milli) }

// PerSecond returns the rate in requests/s.
func (r Rate) PerSecond() float64 { return r.perSecond }

// Thousandths returns the rate in thousandths of a request/s, as nearly as they can tell.
func (r Rate) Thousandths() uint64 { return uint64(math.Round(r.perSecond * milli)) }

// Rounded returns the rate in whole thousandths of a request/s: what is less is neither
// planned for, nor sent, nor compared.
func (r Rate) Rounded() Rate { return Rate{math.Round(r.perSecond*milli) / milli} }

// Compare orders rates: it returns -1, 0 or 1.
func (r Rate) Compare(other Rate) int { return cmp.Compare(r.perSecond, other.perSecond) }

// Bound returns the bound that is at this rate.
func (r Rate) Bound() Bound { return Bound(r) }

// Exceeds reports whether the rate is above a bound.
func (r Rate) Exceeds(b Bound) bool { return !b.IsUnlimited() && r.perSecond > b.perSecond }

// String returns the requests/s.
func (r Rate) String() string { return strconv.FormatFloat(r.perSecond, 'g', -1, 64) }

// Bound is a rate that is not to be exceeded, or that there is none: Unlimited. The zero
// value is the rate 0. Bounds are comparable.
type Bound struct{ perSecond float64 }

// unlimited is how it is written that there is no bound.
const unlimited = -1

// Unlimited returns the bound where no limit applies.
func Unlimited() Bound { return Bound{unlimited} }

// NewBound returns the bound that is written as so many requests/s, -1 for none, or an
// error that says what is wrong.
func NewBound(perSecond float64) (Bound, error) {
	switch {
	case perSecond == unlimited:
		return Unlimited(), nil
	case ValidRate(perSecond):
		return Bound{perSecond + 0}, nil
	}
	return Bound{}, fmt.Errorf("%w, nor %d for unlimited", notRate(perSecond), unlimited)
}

// IsUnlimited reports whether no limit applies.
func (b Bound) IsUnlimited() bool { return b.perSecond == unlimited }

// PerSecond returns the bound as it is written: in requests/s, -1 for none.
func (b Bound) PerSecond() float64 { return b.perSecond }

// Rate returns the rate that the bound is at, 0 if there is none.
func (b Bound) Rate() Rate {
	if b.IsUnlimited() {
		return Rate{}
	}
	return Rate(b)
}

// Rounded returns the bound in whole thousandths of a request/s, see Rate.
func (b Bound) Rounded() Bound {
	if b.IsUnlimited() {
		return b
	}
	return Bound(Rate(b).Rounded())
}

// String returns the requests/s, or that there is no limit.
func (b Bound) String() string {
	if b.IsUnlimited() {
		return "unlimited"
	}
	return Rate(b).String()
}
