package provider

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// leastUser is the first user id that may be a function's: those below are the
	// system's, and people's.
	leastUser = 10_000
	// leastUsers are enough for all functions, and for those that are about to end.
	leastUsers = 2 * maxFunctions
)

// userRange are user ids, and group ids of the same numbers, that nobody else has.
// The zero value is none.
type userRange struct{ first, last uint32 }

// parseUsers reads FIRST-LAST; "" is none.
func parseUsers(text string) (userRange, error) {
	if text == "" {
		return userRange{}, nil
	}
	from, to, found := strings.Cut(text, "-")
	first, err := strconv.ParseUint(from, 10, 31)
	last, err2 := strconv.ParseUint(to, 10, 31)
	switch {
	case !found || err != nil || err2 != nil:
		return userRange{}, fmt.Errorf("--function-users %.40q: use FIRST-LAST, such as 200000-265535", text)
	case first < leastUser || last < first+leastUsers-1:
		return userRange{}, fmt.Errorf("--function-users %s: use %d ids at least, from %d on, that nobody else has", text, leastUsers, leastUser)
	case first <= overflowUser && overflowUser <= last:
		return userRange{}, fmt.Errorf("--function-users %s: %d is nobody's", text, overflowUser)
	}
	return userRange{uint32(first), uint32(last)}, nil
}

// overflowUser is what the kernel shows for ids that a namespace does not have.
const overflowUser = 65534

// checkCapabilities reports what this process lacks to run others as other users,
// to end those, and to give them files.
func checkCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("ask for this process's capabilities: %w", err)
	}
	var lacks []string
	for _, c := range []struct {
		number int
		name   string
	}{{unix.CAP_CHOWN, "CAP_CHOWN"}, {unix.CAP_KILL, "CAP_KILL"}, {unix.CAP_SETGID, "CAP_SETGID"}, {unix.CAP_SETUID, "CAP_SETUID"}} {
		if data[0].Effective&(1<<c.number) == 0 {
			lacks = append(lacks, c.name)
		}
	}
	if len(lacks) > 0 {
		return fmt.Errorf("--function-users: this process lacks %s: start it as root, or with these capabilities", strings.Join(lacks, ", "))
	}
	return nil
}

// users gives each function a user id of its own: the same one whenever it is
// deployed, unless another one's name leads to it, too. It is safe for concurrent
// use. nil gives 0, which stands for the provider's own.
type users struct {
	ids userRange

	mu      sync.Mutex
	holders map[uint32]*holder
}

type holder struct {
	function    string
	deployments int // old ones have yet to end
}

func newUsers(ids userRange) *users {
	if ids == (userRange{}) {
		return nil
	}
	return &users{ids: ids, holders: make(map[uint32]*holder)}
}

// take returns a function's user. It must be left once its processes have ended.
func (u *users) take(function string) (uint32, error) {
	if u == nil {
		return 0, nil
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(function)) // never fails
	many := uint64(u.ids.last-u.ids.first) + 1
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range many {
		id := u.ids.first + uint32((h.Sum64()%many+i)%many)
		switch one := u.holders[id]; {
		case one == nil:
			u.holders[id] = &holder{function, 1}
			return id, nil
		case one.function == function:
			one.deployments++
			return id, nil
		}
	}
	return 0, errors.New("all ids of --function-users are in use")
}

func (u *users) leave(id uint32) {
	if u == nil || id == 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if one := u.holders[id]; one != nil {
		if one.deployments--; one.deployments == 0 {
			delete(u.holders, id)
		}
	}
}

// credential makes processes run as the function's user.
func credential(user uint32) *syscall.Credential {
	if user == 0 {
		return nil
	}
	return &syscall.Credential{Uid: user, Gid: user}
}

// dropCapabilities keeps those of the calling thread from the programs that it
// starts: one that is no root's keeps them otherwise, whatever user it becomes.
func dropCapabilities() error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("keep the provider's capabilities from its functions: %w", err)
	}
	return nil
}

// hand lets a function's user open what it inherits by a name, such as /dev/stdin.
func hand(user uint32, file *os.File) error {
	if user == 0 {
		return nil
	}
	if err := file.Chmod(0o666); err != nil {
		return fmt.Errorf("hand the function's user its input and output: %w", err)
	}
	return nil
}

// copyFor copies a file for a function's user alone.
func copyFor(user uint32, from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	_ = os.Remove(to) // of one that was given up
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Chown(int(user), int(user)), target.Close())
}
