package faults

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/dfaas/dfaas/internal/experiment/report"
)

// Report is a whole run.
type Report struct {
	Setting report.Setting `json:"setting"`
	Results []Result       `json:"results"`
}

// WriteJSON writes the report for programs.
func (r Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(r); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

//go:embed explanation.md
var explanation string

// WriteMarkdown writes the report for people.
func (r Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# What happens when something fails\n\nWritten by `make faults` %s.\n\n", r.Setting)
	met, run := 0, 0
	for _, c := range r.Results {
		if c.NotRun != "" {
			continue
		}
		run++
		if c.Met() {
			met++
		}
	}
	fmt.Fprintf(&b, "%d of %d faults were done, %d are not possible on this machine. In %d of those done, all targets were met.\n\n"+
		"*That node* is the one at fault, one of three. What the columns mean: [How to read it](#how-to-read-it).\n\n",
		run, len(r.Results), len(r.Results)-run, met)
	b.WriteString("| fault | users of that node: errors | ms added, p99 / max | users of another node: errors | ms added, p99 / max | " +
		"machine, ms | normal after | peers back after | reloads | targets |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, c := range r.Results {
		b.WriteString(row(c))
	}
	b.WriteString("\n" + explanation)
	b.WriteString(details(r.Results))
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func row(c Result) string {
	if c.NotRun != "" {
		return fmt.Sprintf("| %s | | | | | | | | | not run here |\n", c.About)
	}
	verdict := "met"
	var missed []string
	for _, v := range c.Checks {
		if !v.Met {
			missed = append(missed, fmt.Sprintf("%s (%s)", v.Target, v.Measured))
		}
	}
	if len(missed) > 0 {
		verdict = "**not met**: " + strings.Join(missed, "; ")
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %.0f | %s | %s | %d | %s |\n", c.About,
		errorsText(c.Here), addedText(c.Here), errorsText(c.Others), addedText(c.Others), c.Bystander.AddedMax(),
		secondsText(c.Normal), secondsText(c.PeersAfter), c.Reloads, verdict)
}

func addedText(i Impact) string { return fmt.Sprintf("%.0f / %.0f", i.AddedP99(), i.Delay) }

func errorsText(i Impact) string {
	text := fmt.Sprintf("%s of %d", countsText(i.Errors), i.Sent)
	if len(i.InFlight) > 0 {
		text += "; under way: " + countsText(i.InFlight)
	}
	return text
}

// details are the cases that the table does not say everything of.
func details(results []Result) string {
	var b strings.Builder
	b.WriteString("\n## Each fault\n\n")
	for _, c := range results {
		if c.NotRun != "" {
			fmt.Fprintf(&b, "- **%s** (`%s`): not run here: %s.\n", c.About, c.Case, strings.TrimSuffix(c.NotRun, "."))
			continue
		}
		fmt.Fprintf(&b, "- **%s** (`%s`): lasted %.1f s; p99 / max for users of the node %.1f / %.1f ms before, %.1f / %.1f ms since; "+
			"service calm after %.2f s there and %.2f s at the other node, plans after %s.", c.About, c.Case, c.FaultSeconds,
			c.Here.BeforeP99, c.Here.BeforeMax, c.Here.P99, c.Here.Max, c.Here.Calm, c.Others.Calm, secondsText(c.PlansAfter))
		for _, note := range c.Notes {
			fmt.Fprintf(&b, " Also: %s.", note)
		}
		if n := c.Here.BeforeErrors + c.Others.BeforeErrors; n > 0 {
			fmt.Fprintf(&b, " Before the fault there were %d errors already.", n)
		}
		if c.Normal < 0 && c.Complain != "" {
			fmt.Fprintf(&b, " What was wrong last: %s.", c.Complain)
		}
		b.WriteString("\n")
	}
	return b.String()
}
