package core

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/spoa/table"
)

// flush writes what has happened since the last flush.
func (w *world) flush(out io.Writer) {
	for _, line := range w.lines {
		fmt.Fprintln(out, "\t"+line)
	}
	if w.looks > 1 || w.plans > 1 || w.beats > 0 {
		fmt.Fprintf(out, "\t(looks at the meter: %d, plans: %d, announced again: %d)\n", w.looks, w.plans, w.beats)
	}
	w.lines, w.looks, w.plans, w.beats = nil, 0, 0, 0
}

// write notes effects. Looks at the meter, plans and what is only said again are
// counted.
func (w *world) write(fx Effects) {
	note := func(format string, args ...any) {
		w.lines = append(w.lines, fmt.Sprintf("%7.3fs  ", w.now.Sub(t0).Seconds())+fmt.Sprintf(format, args...))
	}
	for _, log := range fx.Logs {
		var fields []string
		for _, f := range log.Fields {
			value := fmt.Sprint(f.Value)
			if f.Key == "peer" {
				value = w.name(value)
			}
			fields = append(fields, f.Key+"="+value)
		}
		note("log %s: %s", log.Level, strings.Join(append([]string{log.Message}, fields...), "  "))
	}
	if a := fx.Announce; a != nil {
		switch {
		case a.Leaving:
			note("announce: leaving")
		case announcedText(a) == w.said:
			w.beats++
		default:
			w.said = announcedText(a)
			if fx.Everybody {
				note("announce: %s", w.said)
			} else {
				note("announce by feeds: %s", w.said)
			}
		}
	}
	if fx.Servers != nil {
		var servers []string
		for _, p := range fx.Servers {
			servers = append(servers, w.name(p.ID.String())+" at "+p.Address.String())
		}
		slices.Sort(servers)
		note("servers: %s", orNone(servers))
	}
	if t := fx.Table; t != nil {
		text := w.tableText(t)
		if slices.Equal(text, w.given) {
			note("table %d: the same again", t.Version)
			return
		}
		w.given = text
		note("table %d: %s", t.Version, text[0])
		for _, line := range text[1:] {
			w.lines = append(w.lines, "            "+line)
		}
	}
}

// tableText is a table but for its version, line by line.
func (w *world) tableText(t *table.Table) []string {
	text := []string{w.tableHead(t)}
	for i := range t.Functions {
		text = append(text, w.functionText(&t.Functions[i]))
	}
	var peers []string
	for i := range t.Peers {
		peers = append(peers, w.peerText(t, &t.Peers[i]))
	}
	slices.Sort(peers)
	return append(text, peers...)
}

func (w *world) tableHead(t *table.Table) string {
	head := "for " + t.TTL().String()
	if t.ClockOffsetMillis != 0 {
		head += ", clock corrected by " + t.ClockOffset().String()
	}
	if !t.UnknownLocal && t.Queue != table.QueueNone {
		head += ", queue " + t.Queue
	}
	if t.UnknownLocal {
		head += ", unknown functions are served here"
	}
	return head
}

func (w *world) functionText(f *table.Function) string {
	var ways []string
	if f.Local != nil {
		here := "here " + rateText(f.Local.Rate)
		switch f.Local.Share {
		case 1:
		case 0:
			here += " if no peer takes it"
		default:
			here += fmt.Sprintf(", %g %% of calls first", 100*f.Local.Share)
		}
		ways = append(ways, here)
	}
	var to []string
	for _, fw := range f.Forward {
		text := "to " + w.name(fw.Peer.String()) + " " + rateText(fw.Rate)
		for i := range w.c.observed.Peers {
			if p := &w.c.observed.Peers[i]; p.ID == fw.Peer.String() && max(p.Distrust, p.Unserved[f.Name]) > 0 {
				text += fmt.Sprintf(" (%.0f %% believed)", 100*(1-max(p.Distrust, p.Unserved[f.Name])))
			}
		}
		to = append(to, text)
	}
	slices.Sort(to)
	for _, id := range f.Async {
		to = append(to, "asynchronous to "+w.name(id.String()))
	}
	return f.Name.String() + ": " + strings.Join(append(ways, to...), ", ")
}

func (w *world) peerText(t *table.Table, p *table.Peer) string {
	text := "peer " + w.name(p.ID.String())
	if p.Token == "" {
		text += ", nothing is sent there"
	}
	for i := range t.Functions {
		for _, a := range t.Functions[i].Admit {
			if a.Peer == p.ID {
				text += ", admitted " + t.Functions[i].Name.String() + " " + rateText(a.Rate)
			}
		}
	}
	return text
}

func announcedText(a *wire.Announcement) string {
	if a.Async {
		return offersText(a.Offers) + "; asynchronous calls are taken"
	}
	return offersText(a.Offers)
}

func offersText(offers []strategy.Offer) string {
	var texts []string
	for _, o := range offers {
		text := o.Name.String() + " " + rateText(o.Capacity.Bound())
		if o.Absent {
			text = o.Name.String() + " not here"
		}
		if o.Backup {
			text += " as a backup"
		}
		texts = append(texts, text+", users "+rateText(o.UserRate.Bound()))
	}
	return orNone(texts)
}

func rateText(rate limit.Bound) string {
	if rate.IsUnlimited() {
		return "without limit"
	}
	return fmt.Sprintf("%g/s", rate.PerSecond())
}

func orNone(texts []string) string {
	if len(texts) == 0 {
		return "none"
	}
	return strings.Join(texts, "; ")
}
