package federation

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dfaas/dfaas/deploy/emulator/quota"
)

// groupsFile has the path of a federation's control groups while there are some, for
// RemoveGroups.
func groupsFile(dir string) string { return filepath.Join(dir, "cgroup") }

// limit makes the control groups of the nodes that have limits.
func (f *Federation) limit(o Options) error {
	var limits []quota.Limit
	for i := range o.Nodes {
		if n := &o.Nodes[i]; n.CPUs != 0 || n.Memory != 0 {
			limits = append(limits, quota.Limit{Name: n.Name, CPUs: n.CPUs, Memory: n.Memory})
		}
	}
	if len(limits) == 0 || o.IgnoreLimits {
		return nil
	}
	root, err := quota.Root()
	if err != nil {
		return err
	}
	if f.groups, err = quota.New(root, "dfaas-"+f.id, limits); err != nil {
		return err
	}
	if err := os.WriteFile(groupsFile(f.dir), []byte(f.groups.Path()), 0o600); err != nil {
		return fmt.Errorf("noting the control groups: %w", err)
	}
	return nil
}

// RemoveGroups removes the control groups that a federation in dir has left whose program
// was killed.
func RemoveGroups(dir string) error {
	path, err := os.ReadFile(groupsFile(dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("removing what is left: %w", err)
	}
	if err := quota.Remove(string(path)); err != nil {
		return err
	}
	return os.Remove(groupsFile(dir))
}
