package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// who is the user that the controller runs as, or would.
type who struct {
	name   string
	group  string // the user's own
	uid    int
	groups []int
}

// controllerUser is that of the package's unit.
const controllerUser = "dfaas"

// findUser returns the user of the running controller, else dfaas, else the owner
// of its identity. The second result is false if there is none of them.
func findUser(r Running, identity string) (who, bool) {
	if r.PID != 0 {
		return userOf(r.UID), true
	}
	if u, err := user.Lookup(controllerUser); err == nil {
		if uid, err := strconv.Atoi(u.Uid); err == nil {
			return userOf(uid), true
		}
	}
	if uid := owner(identity); uid >= 0 {
		return userOf(uid), true
	}
	return who{}, false
}

func userOf(uid int) who {
	w := who{name: "user " + strconv.Itoa(uid), group: "GROUP", uid: uid}
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return w
	}
	w.name, w.group = u.Username, u.Gid
	if g, err := user.LookupGroupId(u.Gid); err == nil {
		w.group = g.Name
	}
	groups, err := u.GroupIds()
	if err != nil {
		groups = []string{u.Gid}
	}
	for _, g := range groups {
		if gid, err := strconv.Atoi(g); err == nil {
			w.groups = append(w.groups, gid)
		}
	}
	return w
}

// Permissions.
const (
	mayRead   = 4
	maySearch = 1
)

// deniedError is that a user may not use a file.
type deniedError struct {
	who   who
	path  string // what is in the way: the file, or a directory on the way to it
	verb  string
	owner int
	mode  fs.FileMode
}

func (e *deniedError) Error() string {
	return fmt.Sprintf("%s may not %s %s (owner %s, mode %04o)", e.who.name, e.verb, e.path, userOf(e.owner).name, e.mode.Perm())
}

// hint is a command that lets the user in.
func (e *deniedError) hint() string {
	if e.verb == "enter" {
		return fmt.Sprintf("chgrp %s %s && chmod g+x %s", e.who.group, e.path, e.path)
	}
	return fmt.Sprintf("chown %s: %s", e.who.name, e.path)
}

// readable reports whether a user may read the file, from the owners and modes of
// it and its directories: nil, a *deniedError, or why it cannot be told.
func (w who) readable(path string) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if err := w.may(dir, maySearch, "enter"); err != nil {
			return err
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	return w.may(path, mayRead, "read")
}

func (w who) may(path string, what uint32, verb string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("the system does not tell whose " + path + " is")
	}
	if !w.allowed(int(stat.Uid), int(stat.Gid), stat.Mode, what) {
		return &deniedError{who: w, path: path, verb: verb, owner: int(stat.Uid), mode: info.Mode()}
	}
	return nil
}

// allowed is the kernel's rule: the first that fits of owner, group and others
// decides.
func (w who) allowed(uid, gid int, mode, what uint32) bool {
	switch {
	case w.uid == 0:
		return true
	case w.uid == uid:
		return mode>>6&what == what
	case slices.Contains(w.groups, gid):
		return mode>>3&what == what
	default:
		return mode&what == what
	}
}

// denied returns the error if it is that the user may not use the file.
func denied(err error) (*deniedError, bool) { return errors.AsType[*deniedError](err) }
