package core

import (
	"time"

	"github.com/dfaas/dfaas/controller/estimate"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/table"
)

// tables is what the SPOA is given. It is given the newest table as soon as there
// is one, and again whenever the meter shows that it has another one or none, as
// after a restart. One that it does not want it is not given twice.
type tables struct {
	newest   *table.Table // without a version; nil before the first
	at       time.Time    // when that was made
	due      bool         // it is to be given to the SPOA
	under    *table.Table // newest, as it was given and has not been answered yet; nil: none
	answers  bool         // the SPOA did at the last look; else a table waits for the next
	err      error        // of the last one given
	run      int64        // of the SPOA, by its start
	versions uint64       // given to tables so far
	accepted uint64       // version of the last that was accepted
}

// onMetered takes in a look at the meter.
func (c *Core) onMetered(now time.Time, e Metered) {
	if e.Earlier != nil {
		c.earlier = e.Earlier
	}
	c.tables.answers = e.Err == nil
	first, rise := !c.measured && e.Err != nil, false
	c.measured = c.measured || e.Err != nil
	if e.Report != nil {
		if s, ok := estimate.Difference(c.report, e.Report); ok {
			first, c.measured = !c.measured, true
			rise = c.rates.Add(s)
			c.report = e.Report
		} else if c.report == nil || estimate.Restarted(c.report, e.Report) {
			c.report = e.Report
		}
		c.checkTable(e.Report)
	}
	c.noteSPOA(now, e.Err)
	switch {
	case !c.closeBy.IsZero():
		c.endPeriod(now)
	case rise && c.o.Strategy.Demand() != strategy.DemandOfPeriod, first, c.drifted():
		c.replan(now)
	}
}

// checkTable sees to it that the SPOA has the table that it accepted last.
func (c *Core) checkTable(r *meter.Report) {
	t := &c.tables
	if r.StartMillis != t.run { // another release may want what this one did not
		t.run, t.err = r.StartMillis, nil
	}
	if t.newest != nil && t.under == nil && t.err == nil && (!r.TableFresh || r.TableVersion != t.accepted) {
		t.due = true
	}
	c.giveTable()
}

// giveTable gives the SPOA the newest table if it is due.
func (c *Core) giveTable() {
	t := &c.tables
	if !t.due || t.under != nil || !t.answers {
		return
	}
	t.versions++
	versioned := *t.newest
	versioned.Version = t.versions
	t.due, t.under, c.fx.Table = false, t.newest, &versioned
}

func (c *Core) onTablePut(now time.Time, e TablePut) {
	t := &c.tables
	switch {
	case e.Err == nil:
		t.accepted = t.versions
	case !e.Refused:
		t.due = true // once it answers again
		t.answers = false
	}
	t.under, t.err = nil, e.Err
	c.noteSPOA(now, nil)
	c.giveTable()
}

// noteSPOA notes that the SPOA does not answer, or does not want its table.
func (c *Core) noteSPOA(now time.Time, err error) {
	if err == nil {
		err = c.tables.err
	}
	c.note(&c.spoa, now, err)
}

// setTable makes a table the newest.
func (c *Core) setTable(now time.Time, newest *table.Table) {
	c.tables.newest, c.tables.at, c.tables.due = newest, now, true
	c.giveTable()
}
