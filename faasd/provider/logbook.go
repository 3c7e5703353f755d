package provider

import (
	"bufio"
	"bytes"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openfaas/faas-provider/logs"
)

// Bounds of what is remembered of one function's log; older lines go first.
const (
	maxLogBytes = 256 << 10
	maxLogLine  = 4 << 10 // bytes; longer lines are broken
)

// logBook remembers the last lines that a function's processes wrote to their
// standard error (and, in HTTP mode, standard output), and those that the
// provider wrote about them. It is safe for concurrent use.
type logBook struct {
	name, namespace string

	// writer is inherited by the function's processes: one pipe for all of them,
	// so that a call costs neither a pipe nor a goroutine for its stderr.
	writer *os.File
	pipe   *processPipe

	mu      sync.Mutex
	lines   []logs.Message
	first   uint64 // number of lines[0], counted from 0
	bytes   int
	changed chan struct{} // closed at the next line

	users  atomic.Int64  // deployments whose processes may write
	closed chan struct{} // closed when there will be no more lines of processes
}

// newLogBook makes a book with one user.
func newLogBook(name, namespace string) (*logBook, error) {
	pipe, writer, err := newProcessPipe()
	if err != nil {
		return nil, err
	}
	b := &logBook{name: name, namespace: namespace, writer: writer, pipe: pipe, changed: make(chan struct{}), closed: make(chan struct{})}
	b.users.Store(1)
	go b.collect()
	return b, nil
}

// share adds a user, for which a user that goes on must ask.
func (b *logBook) share() *logBook {
	b.users.Add(1)
	return b
}

// leave takes a user away, whose processes have ended. The last one closes the
// book: whatever still writes then is told by SIGPIPE.
func (b *logBook) leave() {
	if b.users.Add(-1) > 0 {
		return
	}
	b.writer.Close()
	_ = b.pipe.finish()
	<-b.closed
}

// collect reads lines until the last user has left.
func (b *logBook) collect() {
	defer close(b.closed)
	defer b.pipe.close()
	buffered := bufio.NewReaderSize(b.pipe, maxLogLine)
	for {
		line, err := buffered.ReadSlice('\n')
		if text := bytes.TrimRight(line, "\r\n"); len(text) > 0 {
			b.add(string(text))
		}
		if err != nil && err != bufio.ErrBufferFull {
			return // io.EOF
		}
	}
}

// add appends one line.
func (b *logBook) add(text string) {
	text = strings.ToValidUTF8(text, "?")
	message := logs.Message{Name: b.name, Namespace: b.namespace, Instance: b.name, Timestamp: time.Now().UTC(), Text: text}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, message)
	b.bytes += logCost(message)
	drop := 0
	for b.bytes > maxLogBytes {
		b.bytes -= logCost(b.lines[drop])
		b.lines[drop] = logs.Message{}
		drop++
	}
	b.lines = b.lines[drop:]
	b.first += uint64(drop)
	close(b.changed)
	b.changed = make(chan struct{})
}

// logCost is what a line takes of maxLogBytes, with a share for its frame.
func logCost(m logs.Message) int { return len(m.Text) + 64 }

// from returns the lines from number n on that are still known, the number after
// the last one, and a channel that is closed when there are more.
func (b *logBook) from(n uint64) (lines []logs.Message, next uint64, more <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(max(n, b.first), b.first+uint64(len(b.lines)))
	lines = append(lines, b.lines[n-b.first:]...)
	return lines, b.first + uint64(len(b.lines)), b.changed
}
