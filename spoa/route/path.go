package route

import "strings"

// functionName returns what stands in a path where the name of a function is
// expected: NAME or NAME.NAMESPACE of /function/NAME.NAMESPACE/... It decodes
// and normalises nothing, so that whatever is not spelt exactly like a function
// of the table is unknown rather than mistaken for it. The second result is
// false for all other paths; async tells that the call is for a queue.
func functionName(path string) (name string, ours, async bool) {
	name, ours = strings.CutPrefix(path, "/function/")
	if !ours {
		name, ours = strings.CutPrefix(path, "/async-function/")
		async = ours
	}
	if !ours {
		return "", false, false
	}
	for i := range len(name) {
		if name[i] == '/' || name[i] == '?' {
			return name[:i], true, async
		}
	}
	return name, true, async
}
