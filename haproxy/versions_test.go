package haproxy_test

import (
	"flag"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dfaas/dfaas/haproxy/haproxytest"
)

// sideBySide is how many tests run at a time: they mostly wait, for HAProxy's time
// limits and health checks.
const sideBySide = 12

func TestMain(m *testing.M) {
	if socket := os.Getenv(envAgent); socket != "" {
		delay, err := time.ParseDuration(os.Getenv(envAgentDelay))
		if err == nil {
			err = runAgent(socket, delay)
		}
		panic(err)
	}
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(sideBySide)); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// envVersions names the releases of Debian whose HAProxies are tested instead of the
// usual ones: see `make matrix`.
const envVersions = "DFAAS_TEST_HAPROXY"

// version is one of HAProxy.
type version struct {
	name   string
	binary func(testing.TB) haproxytest.Binary
}

// versions are the HAProxies to test with: one of each version that Debian's releases
// have, or those of the releases that are named. Of these, those that cannot be had
// here are skipped, and named.
func versions() []version {
	of := func(release string) func(testing.TB) haproxytest.Binary {
		return func(tb testing.TB) haproxytest.Binary { return haproxytest.Debian(tb, release) }
	}
	var named []version
	for _, release := range strings.Fields(os.Getenv(envVersions)) {
		named = append(named, version{release, func(tb testing.TB) haproxytest.Binary {
			b, err := haproxytest.Find(release)
			if err != nil {
				tb.Skip(err)
			}
			return b
		}})
	}
	if named != nil {
		return named
	}
	return []version{
		{"installed", func(testing.TB) haproxytest.Binary { return haproxytest.Installed }},
		{"3.0", of("trixie")}, {"3.2", of("forky")}, {"newest", of("experimental")},
	}
}

// eachVersion runs the test with all versions of HAProxy, side by side.
func eachVersion(t *testing.T, test func(*testing.T, haproxytest.Binary)) {
	t.Helper()
	for _, version := range versions() {
		t.Run(version.name, func(t *testing.T) {
			t.Parallel()
			test(t, version.binary(t))
		})
	}
}
