package link

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrNoTUN says that there are no TAP devices here.
var ErrNoTUN = errors.New("no TAP devices: /dev/net/tun is missing; load the kernel's module tun (modprobe tun), " +
	"or give the container that device")

const tun = "/dev/net/tun"

// OpenTAP makes a TAP device of that name in the network namespace of the calling
// thread. It is there until the file is closed.
func OpenTAP(name string) (*os.File, error) {
	fd, err := unix.Open(tun, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return nil, fmt.Errorf("%w: %w", ErrNoTUN, err)
	case err != nil:
		return nil, fmt.Errorf("opening %s: %w", tun, err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		return nil, fmt.Errorf("making the device %s: %w", name, errors.Join(err, unix.Close(fd)))
	}
	// Only now: a file without a device cannot be waited for.
	return os.NewFile(uintptr(fd), name), nil
}
