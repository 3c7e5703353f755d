package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// pacedConnections is how many keep-alive connections take turns. At 2,000
// requests a second one is asked every 8 ms, so all but the very late answers
// are there before their connection is needed again.
const pacedConnections = 16

// paced sends requests at a constant rate and returns how long each took, in
// microseconds. It is an open loop: a slow answer does not delay the next
// request. The time starts when a request is due and its sender is awake, and
// includes waiting for a free connection.
//
// It is made for little noise, not for features: the sender sleeps on a thread of
// its own, because Go's timers are a millisecond coarse when nothing else runs.
func paced(ctx context.Context, address, path string, rate int, duration time.Duration) ([]float64, error) {
	request := []byte("GET " + path + " HTTP/1.1\r\nHost: " + address + "\r\n\r\n")
	n := int(float64(rate) * duration.Seconds())
	latencies := make([]float64, n)

	idle := make(chan *asker, pacedConnections)
	readers, failed := new(sync.WaitGroup), make(chan error, pacedConnections)
	askers := make([]*asker, 0, pacedConnections)
	defer func() {
		for _, a := range askers {
			close(a.asked)
		}
		readers.Wait()
	}()
	for range pacedConnections {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return nil, fmt.Errorf("connecting to %s: %w", address, err)
		}
		a := &asker{conn: conn, asked: make(chan question, 1)}
		askers = append(askers, a)
		readers.Go(func() {
			defer conn.Close()
			if err := a.read(latencies, idle); err != nil {
				failed <- err
			}
		})
		idle <- a
	}

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start, interval := time.Now(), time.Second/time.Duration(rate)
	for i := range n {
		sleepUntil(start.Add(time.Duration(i) * interval))
		q := question{i, time.Now()}
		select {
		case a := <-idle:
			if _, err := a.conn.Write(request); err != nil {
				return nil, fmt.Errorf("asking %s: %w", address, err)
			}
			a.asked <- q
		case err := <-failed:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	for range pacedConnections { // all answers are in when all connections are idle
		select {
		case <-idle:
		case err := <-failed:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return latencies, nil
}

// asker is one connection of paced.
type asker struct {
	conn  net.Conn
	asked chan question
}

type question struct {
	number int
	at     time.Time
}

// read notes when the answer to each question came, until asked is closed.
func (a *asker) read(latencies []float64, idle chan<- *asker) error {
	r := bufio.NewReader(a.conn)
	for q := range a.asked {
		if err := a.conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			return err
		}
		response, err := http.ReadResponse(r, nil)
		if err != nil {
			return fmt.Errorf("reading an answer: %w", err)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return fmt.Errorf("reading an answer: %w", err)
		}
		latencies[q.number] = float64(time.Since(q.at)) / float64(time.Microsecond)
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("answered %s instead of 200", response.Status)
		}
		idle <- a
	}
	return nil
}

// sleepUntil sleeps with the resolution of the kernel's timers.
func sleepUntil(t time.Time) {
	for {
		left := time.Until(t)
		if left <= 0 {
			return
		}
		span := unix.NsecToTimespec(int64(left))
		if err := unix.Nanosleep(&span, nil); err != nil && !errors.Is(err, unix.EINTR) {
			time.Sleep(left)
		}
	}
}
