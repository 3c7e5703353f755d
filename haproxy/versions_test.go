package haproxy_test

import (
	"flag"
	"os"
	"strconv"
	"testing"

	"github.com/dfaas/dfaas/haproxy/haproxytest"
)

// sideBySide is how many tests run at a time: they mostly wait, for HAProxy's time
// limits and health checks.
const sideBySide = 12

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(sideBySide)); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// versions are the HAProxies of Debian's releases, and the newest that Debian has.
var versions = []struct {
	name   string
	binary func(testing.TB) haproxytest.Binary
}{
	{"installed", func(testing.TB) haproxytest.Binary { return haproxytest.Installed }},
	{"3.0", func(tb testing.TB) haproxytest.Binary { return haproxytest.Debian(tb, "trixie") }},
	{"3.2", func(tb testing.TB) haproxytest.Binary { return haproxytest.Debian(tb, "forky") }},
	{"newest", func(tb testing.TB) haproxytest.Binary { return haproxytest.Debian(tb, "experimental") }},
}

// eachVersion runs the test with all versions of HAProxy, side by side.
func eachVersion(t *testing.T, test func(*testing.T, haproxytest.Binary)) {
	t.Helper()
	for _, version := range versions {
		t.Run(version.name, func(t *testing.T) {
			t.Parallel()
			test(t, version.binary(t))
		})
	}
}
