package haproxytest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Binary is an HAProxy to run. The zero value is the installed one.
type Binary struct {
	// root is where a Debian package and its libraries were unpacked.
	root, loader, libraries string
}

// Installed is the HAProxy that the machine has.
var Installed Binary

// command runs the binary with the arguments.
func (b Binary) command(args ...string) *exec.Cmd {
	if b.root == "" {
		path, err := exec.LookPath("haproxy")
		if err != nil {
			path = "/usr/sbin/haproxy" // not in the PATH of ordinary users
		}
		return exec.Command(path, args...)
	}
	args = append([]string{"--library-path", b.libraries, filepath.Join(b.root, "usr/sbin/haproxy")}, args...)
	return exec.Command(b.loader, args...)
}

// canReload reports whether master-worker mode works: its master executes itself
// again, which an unpacked package cannot do without its loader.
func (b Binary) canReload() bool { return b.root == "" }

// Check runs `haproxy -c` on the configuration files with these settings, as they
// are, and returns all that it printed, except notices.
func (b Binary) Check(env map[string]string, files ...string) (output string, err error) {
	args := []string{"-c"}
	for _, file := range files {
		args = append(args, "-f", file)
	}
	cmd := b.command(args...)
	cmd.Env = Environ(nil)
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	printed, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(printed)) {
		if !strings.HasPrefix(line, "[NOTICE]") && strings.TrimSpace(line) != "Configuration file is valid" {
			output += line
		}
	}
	return output, err
}

// Debian returns the HAProxy of another release of Debian: "trixie" has 3.0,
// "forky" and "sid" what is to come, "experimental" the newest. The package and its libraries are unpacked into the user's cache
// directory, downloaded from Debian's mirror by this machine's own apt-get the
// first time; nothing is installed. The test fails if they cannot be had.
func Debian(tb testing.TB, release string) Binary {
	tb.Helper()
	b, err := debian(release)
	if err != nil {
		tb.Fatalf("HAProxy of Debian %s: %v\n(this test needs a Debian machine with apt-get and its mirror, once)", release, err)
	}
	return b
}

func debian(release string) (Binary, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return Binary{}, err
	}
	dir := filepath.Join(cache, "dfaas-test", "haproxy-"+release)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Binary{}, err
	}
	// Test processes of several packages may want it at the same time.
	unlock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return Binary{}, err
	}
	defer unlock()
	root := filepath.Join(dir, "root")
	if _, err := os.Stat(root); errors.Is(err, os.ErrNotExist) {
		if err := unpack(release, dir, root); err != nil {
			return Binary{}, err
		}
	}
	b := Binary{root: root}
	loaders, _ := filepath.Glob(filepath.Join(root, "usr/lib/*/ld-linux-*.so.*"))
	if len(loaders) != 1 {
		return Binary{}, fmt.Errorf("no libc in %s: remove %s and try again", root, dir)
	}
	b.loader, b.libraries = loaders[0], filepath.Dir(loaders[0])
	return b, nil
}

func lock(path string) (unlock func(), err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

// archive returns where this machine's apt gets Debian's packages from. Other
// releases are there, too.
func archive() (uri string, err error) {
	targets, err := exec.Command("apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)", "Created-By: Packages").Output()
	if err != nil {
		return "", fmt.Errorf("asking apt for its sources: %w", err)
	}
	for uri := range strings.Lines(string(targets)) {
		if uri = strings.TrimSpace(uri); strings.HasSuffix(uri, "/debian/") {
			return uri, nil
		}
	}
	return "", errors.New("apt has no source of Debian's packages: no URI in its sources ends in /debian")
}

// unpack downloads haproxy and all that it depends on, by an apt that knows no
// other source and believes nothing to be installed, and unpacks it into root.
func unpack(release, dir, root string) error {
	uri, err := archive()
	if err != nil {
		return err
	}
	suites := release
	if release == "experimental" {
		suites = "sid experimental" // which is no whole release
	}
	sources := "Types: deb\nURIs: " + uri + "\nSuites: " + suites + "\nComponents: main\n" +
		"Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
	if err := os.MkdirAll(filepath.Join(dir, "lists/partial"), 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "archives/partial"), 0o755); err != nil {
		return err
	}
	for name, text := range map[string]string{"dfaas.sources": sources, "status": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	apt := []string{
		"-o", "Dir::Etc::SourceList=" + filepath.Join(dir, "dfaas.sources"),
		"-o", "Dir::Etc::SourceParts=/dev/null",
		"-o", "Dir::Etc::Preferences=/dev/null",
		"-o", "Dir::Etc::PreferencesParts=/dev/null",
		"-o", "Dir::State=" + dir,
		"-o", "Dir::State::status=" + filepath.Join(dir, "status"),
		"-o", "Dir::Cache=" + dir,
		"-o", "Dir::Log=" + dir,
		"-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
		"-o", "Debug::NoLocking=true",
	}
	if os.Geteuid() == 0 {
		apt = append(apt, "-o", "APT::Sandbox::User=root") // the cache may be closed to the user _apt
	}
	if err := command("apt-get", append(apt, "update")...); err != nil {
		return err
	}
	if err := command("apt-get", append(apt, "--yes", "--no-install-recommends", "--download-only", "--target-release", release, "install", "haproxy")...); err != nil {
		return err
	}
	packages, err := filepath.Glob(filepath.Join(dir, "archives/*.deb"))
	if err != nil || len(packages) == 0 {
		return errors.Join(err, errors.New("apt-get downloaded no packages"))
	}
	// Whole or not at all: a half-unpacked root must not be used the next time.
	partial := root + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	for _, p := range packages {
		if err := command("dpkg-deb", "--extract", p, partial); err != nil {
			return err
		}
	}
	return os.Rename(partial, root)
}

func command(name string, args ...string) error {
	if output, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, output)
	}
	return nil
}
