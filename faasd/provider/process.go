package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// holdBack is how much of a process's output waits for its exit, so that a
	// failure can still become a 500.
	holdBack = 64 << 10
	// spoolInMemory is the largest request body that is kept in memory; larger
	// ones, and those of unknown length, go to an unlinked file.
	spoolInMemory = 256 << 10
	// killGrace is how long a killed process group may take to end before its
	// leader, which may have left it, is killed by itself.
	killGrace = 250 * time.Millisecond
	// drainTime is how long the rest of a request is still read when the process
	// of a call did not want it.
	drainTime = 500 * time.Millisecond
)

// Why a call was ended early.
var (
	errTimeout  = errors.New("it took longer than its exec_timeout")
	errTooMuch  = errors.New("it wrote more than the provider's --max-output")
	errStopping = errors.New("the provider stops")
	errUploads  = errors.New("as many request bodies are on their way as may be (--max-uploads): try again")
)

// launcher starts the processes of calls. Safe for concurrent use.
type launcher struct {
	maxBody, maxOutput int64
	spoolDir           string
	devNull            *os.File
	buffers            *sync.Pool // of *[]byte with capacity holdBack
	uploads            uploads    // bodies that are read before their process starts
}

func newLauncher(maxBody, maxOutput int64, maxUploads int, spoolDir string) (*launcher, error) {
	devNull, err := os.Open(os.DevNull)
	if err != nil {
		return nil, fmt.Errorf("open the empty input: %w", err)
	}
	newBuffer := func() any {
		buffer := make([]byte, 0, holdBack)
		return &buffer
	}
	return &launcher{
		maxBody: maxBody, maxOutput: maxOutput, spoolDir: spoolDir, devNull: devNull,
		buffers: &sync.Pool{New: newBuffer}, uploads: uploads{most: maxUploads},
	}, nil
}

func (l *launcher) close() { l.devNull.Close() }

// serve answers one call by one process of f.
func (l *launcher) serve(c *call, f *function) {
	buffer := l.buffers.Get().(*[]byte)
	defer l.buffers.Put(buffer)
	out := &output{w: c.w, begun: c.begun, buffer: (*buffer)[:0], left: l.maxOutput, streaming: f.spec.mode == modeStreaming}
	out.contentType = answerType(f.spec, c.r)
	if out.streaming {
		defer drain(out)
		finish(c.w, f, out, l.stream(out, c, f))
		return
	}
	finish(c.w, f, out, l.serialize(out, c, f))
}

// serialize gives the whole request body to a process.
func (l *launcher) serialize(out *output, c *call, f *function) error {
	ctx, cancel := out.limit(c.r.Context(), f.spec.timeout)
	defer cancel()
	cmd := f.runner.command(ctx)
	cmd.Env = f.spec.requestEnvironment(cmd.Env, c.r, c.path)
	if err := l.feed(cmd, c, f); err != nil {
		return err
	}
	return whyEnded(ctx, run(f.runner, cmd, out))
}

// feed has the process read the request body that is there as a whole, if there is one.
func (l *launcher) feed(cmd *exec.Cmd, c *call, f *function) error {
	if c.body == nil {
		cmd.Stdin = l.devNull
		return nil
	}
	cmd.Stdin = c.body
	return hand(f.runner.user, c.body)
}

// spool reads the request body to its end, within timeout, and returns it as a
// file.
func (l *launcher) spool(w http.ResponseWriter, r *http.Request, timeout time.Duration) (*os.File, error) {
	body := newUpload(http.NewResponseController(w), r.Body)
	body.latest = body.begun.Add(timeout)
	if !l.uploads.join(body) {
		return nil, errUploads
	}
	defer l.uploads.leave(body)
	pooled := l.buffers.Get().(*[]byte)
	defer l.buffers.Put(pooled)
	buffer := (*pooled)[:holdBack]
	n, _ := io.ReadFull(body, buffer) // which would take a body that broke off for a short one
	if err := body.failure(); err != nil {
		return nil, err
	}
	whole := body.ended.Load()
	file, err := l.spoolFile(whole || r.ContentLength > 0 && r.ContentLength <= spoolInMemory)
	if err != nil {
		return nil, fmt.Errorf("make a place for the request body: %w", err)
	}
	if err := fill(file, buffer, n, body); err != nil {
		file.Close()
		return nil, err
	}
	// The server goes on watching the connection, to see the client leave.
	return file, body.control.SetReadDeadline(time.Time{})
}

// fill writes the first n bytes of buffer and the rest of body, if there is one,
// to file, and rewinds it.
func fill(file *os.File, buffer []byte, n int, body *upload) error {
	_, err := file.Write(buffer[:n])
	if err == nil && !body.ended.Load() {
		// struct{io.Writer} keeps io.CopyBuffer from choosing a buffer of its own.
		_, err = io.CopyBuffer(struct{ io.Writer }{file}, body, buffer)
		if failure := body.failure(); failure != nil {
			return failure
		}
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("keep the request body: %w", err)
	}
	return nil
}

func (l *launcher) spoolFile(inMemory bool) (*os.File, error) {
	if inMemory {
		fd, err := unix.MemfdCreate("request-body", unix.MFD_CLOEXEC)
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), "request-body"), nil
	}
	// Without a name, so that no function can open another one's.
	fd, err := unix.Open(l.spoolDir, unix.O_TMPFILE|unix.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), "request-body"), nil
	}
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) {
		return nil, fmt.Errorf("make a file in %s: %w", l.spoolDir, err)
	}
	file, err := os.CreateTemp(l.spoolDir, tempPrefix+"body-*") // this file system cannot
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// stream starts the process while the request body still comes in.
func (l *launcher) stream(out *output, c *call, f *function) error {
	control := http.NewResponseController(out.w)
	if err := control.EnableFullDuplex(); err != nil {
		return fmt.Errorf("stream in both directions: %w", err)
	}
	ctx, cancel := out.limit(c.r.Context(), f.spec.timeout)
	defer cancel()
	cmd := f.runner.command(ctx)
	cmd.Env = f.spec.requestEnvironment(cmd.Env, c.r, c.path)
	if c.upload == nil {
		if err := l.feed(cmd, c, f); err != nil {
			return err
		}
		return whyEnded(ctx, run(f.runner, cmd, out))
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("make a pipe to the process: %w", err)
	}
	if reader, ok := cmd.Stdin.(*os.File); ok {
		cmd.Err = cmp.Or(cmd.Err, hand(f.runner.user, reader)) // the start fails by it, and closes the pipe
	}
	out.body = c.upload
	go out.body.copyTo(stdin, out.stop)
	err = whyEnded(ctx, run(f.runner, cmd, out))
	if !out.body.ended.Load() {
		out.w.Header().Set("Connection", "close") // as in send, should nothing be sent yet
	}
	// A read that fails ends the request's context, too, which is not why.
	if failure := out.body.failure(); failure != nil && err != nil {
		return failure
	}
	return err
}

// drain reads what a process left of the request body, for a little while: a
// connection closed with something unread would take the response with it.
func drain(out *output) {
	if out.body == nil {
		return
	}
	if !out.body.ended.Load() {
		control := http.NewResponseController(out.w)
		_ = control.Flush()
		_ = control.SetReadDeadline(time.Now().Add(drainTime))
	}
	<-out.body.done
}

// limit returns the context of the process behind o: it ends after timeout and
// when o cannot go on.
func (o *output) limit(parent context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancelCause(parent)
	o.stop = stop
	timer := time.AfterFunc(timeout, func() { stop(errTimeout) })
	return ctx, func() {
		timer.Stop()
		stop(nil)
	}
}

// whyEnded is err, or rather what ended the process before its time.
func whyEnded(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && err != nil {
		return cause
	}
	return err
}

// clientError is a failure to get the request from the client or to give it the
// response.
type clientError struct {
	doing string
	err   error
}

func (e *clientError) Error() string { return e.doing + ": " + e.err.Error() }
func (e *clientError) Unwrap() error { return e.err }

// run runs cmd to its end, ends what it left in its process group, and gives out
// all that it wrote.
func run(r *runner, cmd *exec.Cmd, out *output) error {
	pipe, writer, err := newProcessPipe()
	if err != nil {
		cmd.Err = err
		return cmd.Start() // which does nothing but close the input
	}
	defer pipe.close()
	cmd.Stdout = writer
	if err = hand(r.user, writer); err != nil {
		cmd.Err = err
	}
	err = r.start(cmd)
	writer.Close()
	if err != nil {
		return fmt.Errorf("start the process: %w", err)
	}
	ended := make(chan error, 1)
	go func() {
		err := reap(cmd)
		r.ended()
		ended <- cmp.Or(err, pipe.finish())
	}()
	readErr := out.readFrom(pipe)
	return cmp.Or(<-ended, readErr)
}

// reap waits for the end of cmd and ends what it left in its process group.
func reap(cmd *exec.Cmd) error {
	err := cmd.Wait()
	// The group's number cannot belong to anybody else while one of it lives; if
	// none does, this is ESRCH.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	return err
}

// output turns what a process writes into a response.
type output struct {
	w           *recorder
	contentType string
	streaming   bool
	buffer      []byte    // held back
	left        int64     // bytes that may still come
	begun       time.Time // of the call
	body        *upload   // the request body that is read meanwhile, or nil
	started     bool      // the response's header is sent
	stop        context.CancelCauseFunc
}

// readFrom reads r to its end. It fails when there is too much of it or the
// client does not take it, and then ends the process.
func (o *output) readFrom(r io.Reader) error {
	for {
		n, err := r.Read(o.buffer[len(o.buffer):cap(o.buffer)])
		o.buffer = o.buffer[:len(o.buffer)+n]
		if o.left -= int64(n); o.left < 0 {
			o.stop(errTooMuch)
			return errTooMuch
		}
		if n > 0 && (o.streaming || len(o.buffer) == cap(o.buffer)) {
			if sendErr := o.send(); sendErr != nil {
				o.stop(&clientError{"send the response", sendErr})
				return sendErr
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			o.stop(err)
			return err
		}
	}
}

// send sends what is held back.
func (o *output) send() error {
	if !o.started {
		o.started = true
		if o.body != nil && !o.body.ended.Load() {
			// It may never be read to its end: then nothing can follow it.
			o.w.Header().Set("Connection", "close")
		}
		o.w.Header().Set("Content-Type", o.contentType)
		o.w.WriteHeader(http.StatusOK)
	}
	_, err := o.w.Write(o.buffer)
	o.buffer = o.buffer[:0]
	if err == nil && o.streaming {
		err = http.NewResponseController(o.w).Flush()
	}
	return err
}

// finish ends the response after the process has ended with err.
func finish(w *recorder, f *function, out *output, err error) {
	if err == nil {
		if !out.started {
			w.Header().Set("Content-Length", strconv.Itoa(len(out.buffer)))
		}
		_ = out.send() // the client has gone, which concerns nobody
		return
	}
	if !errors.Is(err, context.Canceled) {
		f.book.add("call failed: " + err.Error())
	}
	status := failureStatus(err)
	w.status = status
	if out.started || status == statusClientGone {
		panic(http.ErrAbortHandler) // the only way left to say that it failed
	}
	http.Error(w, fmt.Sprintf("function %s failed: %s", f.key, failureText(err)), status)
}

// statusClientGone is counted, never sent: the client went before the answer.
const statusClientGone = 499

// failureStatus is the HTTP status for a call that ended with err.
func failureStatus(err error) int {
	var exit *exec.ExitError
	var client *clientError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, errTimeout):
		return http.StatusGatewayTimeout
	case errors.Is(err, errTooMuch):
		return http.StatusBadGateway
	case errors.Is(err, errStopping), errors.Is(err, errUploads):
		return http.StatusServiceUnavailable
	case errors.As(err, &exit):
		return http.StatusInternalServerError
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	case diskFull(err):
		return http.StatusInsufficientStorage
	case slow(err):
		return http.StatusRequestTimeout
	case errors.Is(err, context.Canceled), errors.As(err, &client):
		return statusClientGone
	}
	return http.StatusInternalServerError
}

// failureText says what happened without telling the caller of the inside.
func failureText(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.Error() + " (see its log)"
	}
	if status := failureStatus(err); status == http.StatusInternalServerError || status == http.StatusInsufficientStorage {
		return "the process could not be run (see its log)"
	}
	return err.Error()
}

// answerType is the media type of an answer: as the classic watchdog has it,
// what content_type says, or else the request's.
func answerType(s *spec, r *http.Request) string {
	if s.contentType != "" {
		return s.contentType
	}
	if asked := r.Header.Get("Content-Type"); asked != "" {
		return asked
	}
	return "text/plain; charset=utf-8"
}
