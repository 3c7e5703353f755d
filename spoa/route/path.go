package route

import "strings"

// functionName returns what stands in a path where the name of a function is
// expected: NAME or NAME.NAMESPACE of /function/NAME.NAMESPACE/... It decodes
// and normalises nothing, so that whatever is not spelt exactly like a function
// of the table is unknown rather than mistaken for it. The second result is
// false for all other paths.
func functionName(path string) (string, bool) {
	rest, found := strings.CutPrefix(path, "/function/")
	if !found {
		rest, found = strings.CutPrefix(path, "/async-function/")
	}
	if !found {
		return "", false
	}
	for i := range len(rest) {
		if rest[i] == '/' || rest[i] == '?' {
			return rest[:i], true
		}
	}
	return rest, true
}
