package wire

import (
	"fmt"
	"math"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/limit"
)

// numbers is what is said of one function, by bitX: flags, rates in thousandths of a
// request/s and a time limit in ms, in which nothing is checked yet.
type numbers [knownBits]uint64

// Bits of the numbers that a feed has of one function.
const (
	bitFlags = iota // a sum of flagX
	bitCapacity
	bitUserRate
	bitLimit
	bitDemand
	bitTimeout
	knownBits
	maxBits = 32 // of any version
)

const (
	flagAbsent = 1 << iota
	flagBackup
)

func numbersOf(o *strategy.Offer) numbers {
	n := numbers{
		bitCapacity: o.Capacity.Thousandths(), bitUserRate: o.UserRate.Thousandths(), bitLimit: o.Limit.Thousandths(),
		bitDemand: o.Demand.Thousandths(), bitTimeout: uint64(o.TimeoutMillis),
	}
	if o.Absent {
		n[bitFlags] |= flagAbsent
	}
	if o.Backup {
		n[bitFlags] |= flagBackup
	}
	return n
}

// offer is the one way from what peers say of a function to an offer.
func (n *numbers) offer(name funcname.Name) (strategy.Offer, error) {
	o := strategy.Offer{
		Name: name, Absent: n[bitFlags]&flagAbsent != 0, Backup: n[bitFlags]&flagBackup != 0,
		TimeoutMillis: int64(min(n[bitTimeout], math.MaxInt64)),
	}
	var err error
	for _, rate := range []struct {
		into *limit.Rate
		bit  int
	}{{&o.Capacity, bitCapacity}, {&o.UserRate, bitUserRate}, {&o.Limit, bitLimit}, {&o.Demand, bitDemand}} {
		if *rate.into, err = limit.RateOfThousandths(n[rate.bit]); err != nil {
			return strategy.Offer{}, fmt.Errorf("function %q: rate %w", name, err)
		}
	}
	if err := checkOffer(&o); err != nil {
		return strategy.Offer{}, err
	}
	return o, nil
}
