package summary

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteTable writes what became of the loads for people to read.
func WriteTable(w io.Writer, s Summary) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "LOAD\tTARGET\tFUNCTION\tSENT\tSTATUS\tSERVED BY\tP50 MS\tP99 MS")
	for i, l := range s.Loads {
		fmt.Fprintf(t, "%d\t%s\t%s\t%d\t%s\t%s\t%.1f\t%.1f\n",
			i+1, l.Target, l.Function, l.Sent, counts(l.Status), counts(l.ByNode), l.Latency.P50, l.Latency.P99)
	}
	return t.Flush()
}

func counts(m map[string]int) string {
	if len(m) == 0 {
		return "-"
	}
	var words []string
	for _, key := range sortedKeys(m) {
		words = append(words, fmt.Sprintf("%s: %d", key, m[key]))
	}
	return strings.Join(words, ", ")
}
