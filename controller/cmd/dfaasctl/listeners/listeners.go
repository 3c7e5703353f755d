package listeners

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// Errors of Try, beside others of the system.
var (
	ErrTaken     = errors.New("somebody listens there")
	ErrElsewhere = errors.New("not an address of this machine")
	// ErrPrivileged: this user may not use the port, which says nothing about others.
	ErrPrivileged = errors.New("only root may use this port")
)

// maxUnix is how long the name of HAProxy's abstract sockets is, padded with zeros.
const maxUnix = 107 // bytes, after the first zero

// Try reports whether a program could listen at the address now: nil if so. It
// binds a socket for an instant, at which nobody can connect.
func Try(a Address) error {
	if a.Abstract != "" {
		return tryAbstract(a.Abstract)
	}
	domain, sa := a.socket()
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("making a socket: %w", err)
	}
	defer unix.Close(fd)
	// As every server does: connections that linger are not in the way.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fmt.Errorf("setting up a socket: %w", err)
	}
	switch err := unix.Bind(fd, sa); {
	case errors.Is(err, unix.EADDRINUSE):
		return ErrTaken
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return ErrElsewhere
	case errors.Is(err, unix.EACCES):
		return ErrPrivileged
	case err != nil:
		return fmt.Errorf("binding %s: %w", a, err)
	}
	return nil
}

func (a Address) socket() (domain int, sa unix.Sockaddr) {
	addr := a.Addr().Unmap()
	if addr.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: addr.As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(a.Port()), Addr: addr.As16()}
}

func tryAbstract(name string) error {
	l, err := net.Listen("unix", padded(name))
	if errors.Is(err, unix.EADDRINUSE) {
		return ErrTaken
	}
	if err != nil {
		return err
	}
	return l.Close()
}

// padded is how HAProxy names its abstract sockets.
func padded(name string) string {
	return "@" + name + strings.Repeat("\x00", max(0, maxUnix-len(name)))
}

// Process is one that listens.
type Process struct {
	PID    int
	Name   string
	Parent int // process id
}

// Holders is who has sockets at an address.
type Holders struct {
	Processes []Process
	// Unseen reports whether there is a socket of a process that this user may not
	// look into.
	Unseen bool
}

// procLimit is how many names of a socket's holders are told.
const procLimit = 8

// At finds out who listens at the address. Of other users' processes only root
// learns.
func At(a Address) (Holders, error) {
	fsys, err := procfs.NewDefaultFS()
	if err != nil {
		return Holders{}, fmt.Errorf("looking for who listens: %w", err)
	}
	inodes, err := sockets(fsys, a)
	if err != nil {
		return Holders{}, fmt.Errorf("looking for who listens: %w", err)
	}
	if len(inodes) == 0 {
		return Holders{}, nil
	}
	processes, err := fsys.AllProcs()
	if err != nil {
		return Holders{}, fmt.Errorf("looking for who listens: %w", err)
	}
	var h Holders
	found := map[string]bool{}
	for _, p := range processes {
		targets, err := p.FileDescriptorTargets()
		if err != nil {
			continue // ended, or not for this user
		}
		for _, target := range targets {
			if !inodes[target] {
				continue
			}
			found[target] = true
			if !slices.ContainsFunc(h.Processes, func(q Process) bool { return q.PID == p.PID }) && len(h.Processes) < procLimit {
				h.Processes = append(h.Processes, describe(p))
			}
		}
	}
	h.Unseen = len(found) < len(inodes)
	return h, nil
}

func describe(p procfs.Proc) Process {
	d := Process{PID: p.PID, Name: "?"}
	if stat, err := p.Stat(); err == nil {
		d.Name, d.Parent = stat.Comm, stat.PPID
	}
	// The kernel cuts names to 15 bytes.
	if path, err := p.Executable(); err == nil && path != "" && len(d.Name) == 15 {
		d.Name = filepath.Base(strings.TrimSuffix(path, " (deleted)"))
	}
	return d
}

const stateListen = 0x0A // TCP_LISTEN

// sockets returns what file descriptors of the sockets at an address link to.
func sockets(fsys procfs.FS, a Address) (map[string]bool, error) {
	inodes := map[string]bool{}
	add := func(inode uint64) { inodes["socket:["+strconv.FormatUint(inode, 10)+"]"] = true }
	if a.Abstract != "" {
		all, err := fsys.NetUNIX()
		if err != nil {
			return nil, err
		}
		for _, row := range all.Rows {
			// The zeros behind it are shown as @, too.
			if name, ok := strings.CutPrefix(row.Path, "@"); ok && strings.TrimRight(name, "@") == a.Abstract {
				add(row.Inode)
			}
		}
		return inodes, nil
	}
	for _, read := range []func() (procfs.NetTCP, error){fsys.NetTCP, fsys.NetTCP6} {
		lines, err := read()
		if errors.Is(err, fs.ErrNotExist) {
			continue // a machine without IPv6
		}
		if err != nil {
			return nil, err
		}
		for _, line := range lines {
			addr, ok := netip.AddrFromSlice(line.LocalAddr)
			if ok && line.St == stateListen && a.Overlaps(Address{AddrPort: netip.AddrPortFrom(addr, uint16(line.LocalPort))}) {
				add(line.Inode)
			}
		}
	}
	return inodes, nil
}

// Named returns the running processes of that name. Of those that this user may
// not see there are none.
func Named(name string) ([]Process, error) {
	processes, err := procfs.AllProcs()
	if err != nil {
		return nil, fmt.Errorf("looking for %s: %w", name, err)
	}
	var found []Process
	for _, p := range processes {
		if d := describe(p); d.Name == name {
			found = append(found, d)
		}
	}
	return found, nil
}

// Free returns an address like a that nobody uses, at one of the next ports.
func Free(a Address) (Address, bool) {
	const tries = 100
	for port := int(a.Port()) + 1; port <= min(int(a.Port())+tries, 65535); port++ {
		next := Address{AddrPort: netip.AddrPortFrom(a.Addr(), uint16(port))}
		if Try(next) == nil {
			return next, true
		}
	}
	return Address{}, false
}
