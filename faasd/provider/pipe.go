package provider

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// processPipe is what processes write. It ends with the last writer or, when
// something that they left behind holds it open, with what was in it at finish.
// How fast it is read makes no difference. All but finish is used by one
// goroutine.
type processPipe struct {
	reader   *os.File
	raw      syscall.RawConn
	finished bool // Read has seen it
	left     int  // bytes to read after finish
}

// newProcessPipe returns a pipe and the end of it that is for the processes.
func newProcessPipe() (*processPipe, *os.File, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("make a pipe for the process: %w", err)
	}
	raw, err := reader.SyscallConn()
	if err != nil {
		reader.Close()
		writer.Close()
		return nil, nil, fmt.Errorf("make a pipe for the process: %w", err)
	}
	return &processPipe{reader: reader, raw: raw}, writer, nil
}

// finish says that the processes have ended: all that they wrote is in the pipe.
// It may be called while another goroutine reads.
func (p *processPipe) finish() error {
	return p.reader.SetReadDeadline(time.Unix(1, 0)) // which wakes the reader, too
}

// Read waits for output before finish, and takes what there is after it.
func (p *processPipe) Read(b []byte) (int, error) {
	if !p.finished {
		n, err := p.reader.Read(b)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		p.finished = true
		// Nobody else reads: so much there is, and it can be read at once.
		err = p.control(func(fd int) (err error) { p.left, err = unix.IoctlGetInt(fd, unix.TIOCINQ); return err })
		if err != nil {
			return 0, err
		}
	}
	if p.left == 0 {
		return 0, io.EOF
	}
	n := 0
	err := p.control(func(fd int) (err error) { n, err = unix.Read(fd, b[:min(len(b), p.left)]); return err })
	if err != nil {
		return 0, err
	}
	p.left -= n
	return n, nil
}

// control makes a system call on the pipe, whatever the read deadline.
func (p *processPipe) control(call func(fd int) error) error {
	var failure error
	err := p.raw.Control(func(fd uintptr) {
		for {
			if failure = call(int(fd)); failure != unix.EINTR {
				return
			}
		}
	})
	return errors.Join(err, failure)
}

// close makes a process that still writes fail, by SIGPIPE.
func (p *processPipe) close() { p.reader.Close() }
