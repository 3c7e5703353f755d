// Package quota bounds what CPU time and memory the processes of a node may have, by
// control groups (cgroup v2).
//
//	g, err := quota.New(root, "dfaas-1", []quota.Limit{{Name: "node-1", CPUs: 0.5, Memory: 256 << 20}})
//	defer g.Remove()
//	command.SysProcAttr.UseCgroupFD, command.SysProcAttr.CgroupFD = true, g.FD("node-1")
package quota

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Limit is what the processes of one node may have.
type Limit struct {
	Name   string
	CPUs   float64 // 0: all
	Memory int64   // bytes; 0: all
}

// ErrUnavailable says that limits cannot be had here.
var ErrUnavailable = errors.New("cpus and memory of nodes need control groups (cgroup v2) with the controllers cpu and memory, and root: " +
	"boot with systemd.unified_cgroup_hierarchy=1, or leave the limits out with --ignore-limits")

// Root is where control groups are to be made on this machine.
func Root() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return rootIn(string(mounts))
}

// rootIn finds the root of cgroup v2 in the lines of a mountinfo file.
func rootIn(mounts string) (string, error) {
	for line := range strings.Lines(mounts) {
		before, after, _ := strings.Cut(line, " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if len(fields) >= 5 && len(kind) > 0 && kind[0] == "cgroup2" {
			return fields[4], nil
		}
	}
	return "", fmt.Errorf("%w: no file system of type cgroup2 is mounted", ErrUnavailable)
}

// Groups are the control groups of some nodes.
type Groups struct {
	path  string
	files map[string]*os.File // directories, by node
}

// period is that of a CPU quota, microseconds.
const period = 100_000

// New makes a control group of that name below the root, and one in it for each limit.
// Its error is ErrUnavailable if the machine does not have what it takes.
func New(root, name string, limits []Limit) (_ *Groups, err error) {
	have, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	for _, controller := range needed(limits) {
		if !slices.Contains(strings.Fields(string(have)), controller) {
			return nil, fmt.Errorf("%w: the controller %s is not in %s/cgroup.controllers", ErrUnavailable, controller, root)
		}
	}
	g := &Groups{path: filepath.Join(root, name), files: make(map[string]*os.File)}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.Remove())
		}
	}()
	for _, above := range []string{root, g.path} {
		if above == g.path {
			if err := os.Mkdir(g.path, 0o755); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
			}
		}
		for _, controller := range needed(limits) {
			if err := write(above, "cgroup.subtree_control", "+"+controller); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
			}
		}
	}
	for _, l := range limits {
		if err := g.add(l); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// needed are the controllers that limits need.
func needed(limits []Limit) (controllers []string) {
	if slices.ContainsFunc(limits, func(l Limit) bool { return l.CPUs != 0 }) {
		controllers = append(controllers, "cpu")
	}
	if slices.ContainsFunc(limits, func(l Limit) bool { return l.Memory != 0 }) {
		controllers = append(controllers, "memory")
	}
	return controllers
}

func (g *Groups) add(l Limit) error {
	path := filepath.Join(g.path, l.Name)
	if err := os.Mkdir(path, 0o755); err != nil {
		return fmt.Errorf("limits of %s: %w", l.Name, err)
	}
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("limits of %s: %w", l.Name, err)
	}
	g.files[l.Name] = file
	if l.CPUs != 0 {
		err = write(path, "cpu.max", fmt.Sprintf("%.0f %d", max(1000, l.CPUs*period), period))
	}
	if l.Memory != 0 && err == nil {
		// One part that needs too much is ended, not the whole node; what is swapped out
		// would be memory, too.
		err = write(path, "memory.max", strconv.FormatInt(l.Memory, 10))
		if err == nil {
			if err = write(path, "memory.swap.max", "0"); errors.Is(err, os.ErrNotExist) {
				err = nil // the kernel does not count swap
			}
		}
	}
	if err != nil {
		return fmt.Errorf("limits of %s: %w", l.Name, err)
	}
	return nil
}

// write writes a file that is there.
func write(path, name, text string) error {
	file, err := os.OpenFile(filepath.Join(path, name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}

// FD is the control group of a node, for syscall.SysProcAttr.
func (g *Groups) FD(node string) (fd int, limited bool) {
	if g == nil || g.files[node] == nil {
		return 0, false
	}
	return int(g.files[node].Fd()), true
}

// Path is where the groups are.
func (g *Groups) Path() string { return g.path }

// Remove removes the groups, in which nothing may run any more.
func (g *Groups) Remove() error {
	var errs []error
	for _, f := range g.files {
		errs = append(errs, f.Close())
	}
	clear(g.files)
	return errors.Join(append(errs, Remove(g.path))...)
}

// Remove removes groups that a program has left which was killed.
func Remove(path string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("removing control groups: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if e.IsDir() {
			errs = append(errs, os.Remove(filepath.Join(path, e.Name())))
		}
	}
	if err := errors.Join(append(errs, os.Remove(path))...); err != nil {
		return fmt.Errorf("removing control groups: %w", err)
	}
	return nil
}
