package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSecurityPage: every test that security.md names is there, in the package that
// it names last before it, and it names every fuzz target, by itself or, where all of
// a package are meant, by the package.
func TestSecurityPage(t *testing.T) {
	page, err := os.ReadFile("security.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := testsOf(t, "..")
	named := make(map[string]bool) // package and test, or a package alone
	fuzzing := false
	for line := range strings.Lines(string(page)) {
		if title, found := strings.CutPrefix(line, "## "); found {
			fuzzing = strings.TrimSpace(title) == "Fuzzing"
		}
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		current, alone := "", ""
		for _, word := range regexp.MustCompile("`[a-z0-9/]+`|\\b(Test|Fuzz)[A-Z][A-Za-z0-9]*").FindAllString(line, -1) {
			if name, quoted := strings.CutPrefix(word, "`"); quoted {
				named[alone] = named[alone] || fuzzing
				current = strings.TrimSuffix(name, "`")
				alone = current
				continue
			}
			found := false
			alone = ""
			for pkg := range tests[word] {
				if pkg == current || strings.HasSuffix(pkg, "/"+current) {
					found = true
					named[pkg+" "+word] = true
				}
			}
			if !found {
				t.Errorf("security.md names %s %s, which is not there", current, word)
			}
		}
		named[alone] = named[alone] || fuzzing
	}
	for name, packages := range tests {
		for pkg := range packages {
			if strings.HasPrefix(name, "Fuzz") && !named[pkg+" "+name] && !named[pkg] {
				t.Errorf("security.md does not name %s %s", pkg, name)
			}
		}
	}
}

// testsOf returns the packages, as directories below root, that have each test and
// fuzz target.
func testsOf(t *testing.T, root string) map[string]map[string]bool {
	t.Helper()
	tests := make(map[string]map[string]bool)
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		pkg, err := filepath.Rel(root, filepath.Dir(path))
		for _, match := range function.FindAllStringSubmatch(string(text), -1) {
			if tests[match[1]] == nil {
				tests[match[1]] = make(map[string]bool)
			}
			tests[match[1]][filepath.ToSlash(pkg)] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}
