// Package clip shortens what others have written to what a message can bear.
package clip

import "unicode/utf8"

// longest is how many bytes of a text are shown.
const longest = 80

// Text returns the text, or of one that is longer than 80 bytes the beginning, in whole
// characters, with "..." behind.
func Text(text string) string {
	if len(text) <= longest {
		return text
	}
	end := longest
	for end > longest-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "..."
}
