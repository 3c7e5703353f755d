// Package debian has programs of other releases of Debian, without installing them.
package debian

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Program is one of a package that was unpacked, with the libraries of its release.
type Program struct{ path, loader, libraries string }

// Find returns a program of a package of a release ("trixie", "sid", "experimental",
// ...): path is where the package has it, such as usr/sbin/haproxy. The package and
// all that it depends on are unpacked into the user's cache directory, downloaded from
// Debian's mirror by this machine's own apt-get the first time; nothing is installed.
func Find(release, name, path string) (Program, error) {
	p, err := find(release, name, path)
	if err != nil {
		return Program{}, fmt.Errorf("package %s of Debian %s: %w (a Debian machine with apt-get and its mirror is needed, once)", name, release, err)
	}
	return p, nil
}

func find(release, name, path string) (Program, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return Program{}, err
	}
	dir := filepath.Join(cache, "dfaas-test", name+"-"+release)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Program{}, err
	}
	// Several processes may want it at the same time.
	unlock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return Program{}, err
	}
	defer unlock()
	root := filepath.Join(dir, "root")
	if _, err := os.Stat(root); errors.Is(err, os.ErrNotExist) {
		if err := unpack(release, name, dir, root); err != nil {
			return Program{}, err
		}
	}
	p := Program{path: filepath.Join(root, path)}
	loaders, _ := filepath.Glob(filepath.Join(root, "usr/lib/*/ld-linux-*.so.*"))
	if len(loaders) == 0 { // of releases before trixie
		loaders, _ = filepath.Glob(filepath.Join(root, "lib/*/ld-linux-*.so.*"))
	}
	if len(loaders) != 1 {
		return Program{}, fmt.Errorf("no libc in %s: remove %s and try again", root, dir)
	}
	p.loader = loaders[0]
	p.libraries = filepath.Join(root, "usr/lib", filepath.Base(filepath.Dir(p.loader))) + ":" + filepath.Dir(p.loader)
	return p, nil
}

// Argv is the command line that runs the program with these arguments.
func (p Program) Argv(args ...string) []string {
	return append([]string{p.loader, "--library-path", p.libraries, p.path}, args...)
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

// unpack downloads a package and all that it depends on, by an apt that knows no
// other source and believes nothing to be installed, and unpacks it into root.
func unpack(release, name, dir, root string) error {
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
	for file, text := range map[string]string{"dfaas.sources": sources, "status": ""} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
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
	if err := command("apt-get", append(apt, "--yes", "--no-install-recommends", "--download-only", "--target-release", release, "install", name)...); err != nil {
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
