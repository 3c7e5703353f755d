package soak

import (
	_ "embed"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/report"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

//go:embed explanation.md
var explanation string

// WriteText writes the verdict for the terminal.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, v := range r.Checks {
		mark := "ok      "
		if !v.Met {
			mark = "NOT MET "
		}
		fmt.Fprintf(&b, "%s%s: %s\n", mark, v.Asked, v.Measured)
	}
	for _, what := range r.Missing {
		fmt.Fprintf(&b, "not done here: %s\n", what)
	}
	fmt.Fprintf(&b, "%s; seed %d\n", r.lastedText(), r.Seed)
	return write(w, b.String())
}

// WriteMarkdown writes the report for people.
func (r Report) WriteMarkdown(w io.Writer, setting report.Setting) error {
	var b strings.Builder
	verdict := "Everything asked for was met."
	if !r.Met() {
		verdict = "**Not everything asked for was met.**"
	}
	fmt.Fprintf(&b, "# Soak\n\nWritten by `make soak` %s: %s, peer_tls %s, seed %d. %s\n\n", setting, r.lastedText(), onOff(r.PeerTLS), r.Seed, verdict)
	b.WriteString("| asked | verdict | measured |\n| --- | --- | --- |\n")
	for _, v := range r.Checks {
		mark := "met"
		if !v.Met {
			mark = "**not met**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", v.Asked, mark, strings.ReplaceAll(v.Measured, "|", "\\|"))
	}
	b.WriteString("\n## What the processes used\n\nThe longest life of each: at its start once warm, in the middle, at the end.\n\n" +
		"| node | process | goroutines | resident memory, MiB | open files |\n| --- | --- | --- | --- | --- |\n")
	for _, u := range r.usages {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", u.life.node, u.life.part, u.goroutines.text(1), u.memory.text(1<<20), u.files.text(1))
	}
	b.WriteString("\n## What was done to the nodes\n\n| | kill -9 | SIGSTOP | restart | reload |\n| --- | --- | --- | --- | --- |\n")
	all := make(map[scenario.Action]int)
	done := make(map[scenario.Part]map[scenario.Action]int)
	for _, i := range r.outcome.incidents {
		if done[i.fault.part] == nil {
			done[i.fault.part] = make(map[scenario.Action]int)
		}
		done[i.fault.part][i.fault.do]++
		all[i.fault.do]++
	}
	for _, part := range append(scenario.Parts(), scenario.All) {
		n := done[part]
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d |\n", part, n[scenario.Kill], n[scenario.Stop], n[scenario.Restart], n[scenario.Reload])
	}
	fmt.Fprintf(&b, "\nBesides, a node was cut off from all others %d times, the clock of %s was wrong %d times, and %d members joined and left, "+
		"about half of them without a word.\n\n", all[scenario.Partition], clocked, all[jump], r.visitors)
	for _, what := range r.Missing {
		fmt.Fprintf(&b, "**Not done here:** %s.\n\n", what)
	}
	b.WriteString(explanation)
	return write(w, b.String())
}

func (r Report) lastedText() string {
	text := fmt.Sprintf("%s under load", r.Lasted.Round(time.Second))
	if r.Interrupted {
		text += fmt.Sprintf(", interrupted before its %s were over", r.Wanted)
	}
	return text
}

func write(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
