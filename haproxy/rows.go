package haproxy

import (
	"fmt"
	"iter"
	"strings"
)

// tableHead begins the answer to `show table`.
const tableHead = "# table: "

// rowsOf returns the rows of the answer to `show table`.
func rowsOf(answer string) (iter.Seq[string], error) {
	head, rows, _ := strings.Cut(answer, "\n")
	if !strings.HasPrefix(head, tableHead) {
		return nil, fmt.Errorf("table expected, got %.80q", answer)
	}
	return func(yield func(string) bool) {
		for row := range strings.Lines(rows) {
			if row = strings.TrimSpace(row); row != "" && !yield(row) {
				return
			}
		}
	}, nil
}

// fieldsOf returns the names and values of a row's fields.
func fieldsOf(row string) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for field := range strings.FieldsSeq(row) {
			if name, value, _ := strings.Cut(field, "="); !yield(name, value) {
				return
			}
		}
	}
}
