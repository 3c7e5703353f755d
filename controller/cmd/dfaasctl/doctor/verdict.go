package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// skip is the verdict of a check that does not apply.
func skip() Verdict { return Verdict{} }

func ok(format string, args ...any) Verdict {
	return Verdict{Level: OK, Finding: fmt.Sprintf(format, args...)}
}

func warn(hint, format string, args ...any) Verdict {
	return Verdict{Level: Warn, Finding: fmt.Sprintf(format, args...), Hint: hint}
}

func fail(hint, format string, args ...any) Verdict {
	return Verdict{Level: Fail, Finding: fmt.Sprintf(format, args...), Hint: hint}
}

// unreachable judges a part that could not be asked. Not being allowed to ask
// says nothing about the part.
func unreachable(err error, hint string) Verdict {
	if errors.Is(err, fs.ErrPermission) {
		return warn("run dfaasctl doctor as root", "not checked: %s", oneLine(err))
	}
	return fail(hint, "%s", oneLine(err))
}

func oneLine(err error) string { return strings.Join(strings.FieldsFunc(err.Error(), isNewline), "; ") }

func isNewline(r rune) bool { return r == '\n' || r == '\r' }

// few joins the first names of a list.
func few(names []string) string {
	const most = 5
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// count is a number with its noun, which takes an s.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
