package provider

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fileRights are what a confined process needs a rule for. Running programs and
// listing directories are left alone, which give away names and no contents.
const fileRights = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE

// allRights of a directory come on top of those of the files in it.
const allRights = fileRights | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
	unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
	unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK |
	unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER

// Versions of Landlock.
const (
	abiLeast    = 2 // Linux 5.19: files may be moved between directories
	abiTruncate = 3 // 6.2
	abiScopes   = 6 // 6.12: signals and abstract sockets
	// erratumThreads of abiScopes is fixed: the threads of one process may always
	// send signals to each other, which Go's runtime does.
	erratumThreads = 1 << 1
)

// maxSiblings bounds the entries of one directory that lead to a hidden one: each
// costs a rule.
const maxSiblings = 20_000

// confinement keeps the processes of a function away from files that are not for
// them, from each other's and the provider's memory and, with a kernel that can,
// signals. It is Landlock, which needs no privileges. It is immutable.
type confinement struct {
	hidden []string // directories and files: absolute, without symbolic links
	abi    int
	scoped uint64
}

// newConfinement hides directories, and files. It fails if this kernel cannot.
func newConfinement(hidden ...string) (*confinement, error) {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return nil, fmt.Errorf("ask the kernel for Landlock: %w", errno)
	}
	if abi < abiLeast {
		return nil, fmt.Errorf("the kernel's Landlock is of version %d: %d at least is needed (Linux 5.19)", abi, abiLeast)
	}
	c := &confinement{abi: int(abi)}
	if c.abi >= abiScopes {
		errata, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_ERRATA)
		if errno == 0 && errata&erratumThreads != 0 {
			c.scoped = unix.LANDLOCK_SCOPE_SIGNAL | unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
		}
	}
	for _, name := range hidden {
		path, err := filepath.EvalSymlinks(name)
		if err == nil {
			path, err = filepath.Abs(path)
		}
		if err != nil {
			return nil, fmt.Errorf("hide %s: %w", name, err)
		}
		if path == "/" {
			return nil, errors.New("hide /: give the provider a directory of its own")
		}
		c.hidden = append(c.hidden, path)
	}
	return c, nil
}

// apply confines the calling thread and all processes that it starts, for good.
// Of what is hidden the files in the directories readable can be read.
func (c *confinement) apply(readable ...string) error {
	attr := unix.LandlockRulesetAttr{Access_fs: c.rights(allRights), Scoped: c.scoped}
	size := unsafe.Sizeof(attr)
	if c.scoped == 0 {
		size = unsafe.Offsetof(attr.Access_net) // all that older kernels know
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return fmt.Errorf("make Landlock's rules: %w", errno)
	}
	ruleset := int(fd)
	defer unix.Close(ruleset)
	if err := c.allowAround(ruleset, "/"); err != nil {
		return err
	}
	for _, dir := range readable {
		if err := allow(ruleset, dir, unix.LANDLOCK_ACCESS_FS_READ_FILE); err != nil {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), 0, 0); errno != 0 {
		return fmt.Errorf("apply Landlock's rules: %w", errno)
	}
	return nil
}

// rights are those that the kernel knows.
func (c *confinement) rights(wanted uint64) uint64 {
	if c.abi >= abiTruncate {
		wanted |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	return wanted
}

// allowAround allows all that is in dir, except what is hidden. Landlock has no
// rule that forbids, so whatever lies beside the way to a hidden directory gets a
// rule; what comes there later is not allowed.
func (c *confinement) allowAround(ruleset int, dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrPermission) {
		return nil // nothing in it can be used anyway
	}
	if err != nil {
		return fmt.Errorf("look what is beside a hidden directory: %w", err)
	}
	if len(entries) > maxSiblings {
		return fmt.Errorf("%s holds %d files, too many to make a rule for each: put the state directory elsewhere", dir, len(entries))
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		hidden, above := c.relation(path)
		switch {
		case hidden:
		case above:
			err = c.allowAround(ruleset, path)
		case entry.IsDir():
			err = allow(ruleset, path, c.rights(allRights))
		case entry.Type()&os.ModeSymlink == 0: // what a link leads to has its own rule
			err = allow(ruleset, path, c.rights(fileRights))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// relation reports whether path is hidden, and whether it is on the way to
// something hidden.
func (c *confinement) relation(path string) (hidden, above bool) {
	for _, dir := range c.hidden {
		hidden = hidden || path == dir
		above = above || strings.HasPrefix(dir, path+"/")
	}
	return hidden, above
}

// allow adds a rule for a file or directory; one that has vanished needs none.
func allow(ruleset int, path string, rights uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %s for a rule: %w", path, err)
	}
	defer unix.Close(fd)
	rule := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("make a rule for %s: %w", path, errno)
	}
	return nil
}
