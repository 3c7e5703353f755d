// Package spelling finds the name that was probably meant.
package spelling

import (
	"fmt"
	"slices"
	"strings"
)

// longest is how many bytes are looked at, since time grows with their square.
const longest = 64

// Nearest returns the name that is most like a misspelt one, "" when none is.
func Nearest(misspelt string, names []string) string {
	best, distance := "", 1+min(4, len(misspelt)/2)
	if len(misspelt) > longest {
		return ""
	}
	for _, name := range names {
		if d := editDistance(misspelt, name); d < distance {
			best, distance = name, d
		}
	}
	return best
}

// Unread says which variables of an environment begin with the prefix, are like one of the
// names, and are neither one of these nor one of the others: nobody reads them. What is like
// none may be meant for another program.
func Unread(environ []string, prefix string, names, others []string) []string {
	var said []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, prefix) || slices.Contains(names, name) || slices.Contains(others, name) {
			continue
		}
		if near := Nearest(name, names); near != "" {
			said = append(said, fmt.Sprintf("nobody reads %s: did you mean %s?", name, near))
		}
	}
	slices.Sort(said)
	return said
}

// editDistance counts the insertions, deletions and replacements of bytes that
// make b of a.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
