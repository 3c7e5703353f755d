package provider

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// dial connects to the provider until the test ends.
func (p *testProvider) dial() net.Conn {
	p.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	return conn
}

// stall begins calls whose bodies do not come after their first byte, and returns
// their connections.
func (p *testProvider) stall(n int, name string) []net.Conn {
	p.t.Helper()
	var conns []net.Conn
	for range n {
		conn := p.dial()
		fmt.Fprintf(conn, "POST /function/%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx", name)
		conns = append(conns, conn)
	}
	return conns
}

// stallRead is stall without the first byte, and waits until the provider reads.
func (p *testProvider) stallRead(n int, name string) []net.Conn {
	p.t.Helper()
	var conns []net.Conn
	for range n {
		conn := p.dial()
		fmt.Fprintf(conn, "POST /function/%s HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n", name)
		const goOn = "HTTP/1.1 100 Continue\r\n\r\n"
		got := make([]byte, len(goOn))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != goOn {
			p.t.Fatalf("%q, %v", got, err)
		}
		conns = append(conns, conn)
	}
	return conns
}

// statusOn reads the status of the answer that comes over a connection; negative,
// if the answer breaks off.
func statusOn(t *testing.T, conn net.Conn) int {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return -response.StatusCode
	}
	return response.StatusCode
}

// A body that does not come takes no place of max_inflight from calls that can
// run, however a function meets its requests.
func TestStalledUploadsTakeNoFunctionOut(t *testing.T) {
	t.Parallel()
	p := startNew(t)
	p.deploy("serializing", "cat", map[string]string{"max_inflight": "2"})
	p.deploy("streaming", "cat", map[string]string{"max_inflight": "2", "exec_timeout": "8s", "mode": "streaming"})
	p.startHTTP("http", map[string]string{"max_inflight": "2", "exec_timeout": "8s"})
	for name, status := range map[string]int{"serializing": 200, "streaming": 200, "http": 201} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &testProvider{t: t, url: p.url}
			p.want(status, "whole", "POST", "/function/"+name, "whole")
			stalled := p.stall(10, name)
			for range 5 {
				eventually(t, "a call with its body is served", func() bool {
					got, text := p.do("POST", "/function/"+name, "whole")
					if got != status && got != http.StatusTooManyRequests {
						t.Fatalf("%d %s", got, text)
					}
					return got == status
				})
			}
			for _, conn := range stalled {
				switch got := statusOn(t, conn); got {
				case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusGatewayTimeout, -200: // cat has answered the one byte
				default:
					t.Errorf("a sender that stalled got %d", got)
				}
			}
		})
	}
}

// Bodies that are read before their process starts are bounded for themselves;
// at the bound the slowest gives way, and the first second is nobody's fault.
func TestUploadsAreBounded(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir())
	o.MaxUploads = 2
	p := start(t, o)
	p.deploy("cat", "cat", nil)
	began := time.Now()
	stalled := p.stallRead(2, "cat")
	refused, asked := false, time.Duration(0)
	eventually(t, "a body gets its turn", func() bool {
		status, text, header := p.exchange("POST", "/function/cat", "x", nil)
		if asked == 0 {
			asked = time.Since(began)
		}
		if status == http.StatusServiceUnavailable {
			refused = true
			if header.Get("Retry-After") == "" || !strings.Contains(text, "--max-uploads") {
				t.Fatalf("%v %s", header, text)
			}
		}
		return status == 200
	})
	if !refused && asked < cutAfter { // a busy machine may have sent it later
		t.Error("no call was refused at the bound")
	}
	got := []int{statusOn(t, stalled[0]), statusOn(t, stalled[1])}
	if got[0] != http.StatusRequestTimeout || got[1] != http.StatusRequestTimeout {
		t.Errorf("the stalled ones got %v", got)
	}
	p.want(200, "x", "POST", "/function/cat", "x")
}

// A call that is refused is answered though its body never comes.
func TestRefusalsDoNotWaitForTheBody(t *testing.T) {
	t.Parallel()
	p := startNew(t)
	if got := statusOn(t, p.stall(1, "none")[0]); got != http.StatusNotFound {
		t.Errorf("%d", got)
	}
	conn := p.dial()
	fmt.Fprint(conn, "POST /function/none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nxPOST /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")
	reader := bufio.NewReader(conn)
	for range 2 { // the connection is still good
		response, err := http.ReadResponse(reader, nil)
		if err != nil || response.StatusCode != 404 {
			t.Fatalf("%v, %v", response, err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
	}
}

// A body may be as slow as uploadRate on average, after uploadGrace.
func TestLeastRate(t *testing.T) {
	for name, test := range map[string]struct {
		bytes int // each second
		want  error
		after time.Duration
	}{
		"fast enough": {uploadRate + 100, nil, 120 * time.Second},
		"too slow":    {uploadRate / 2, errTooSlow, 2 * uploadGrace},
		"trickle":     {1, errTooSlow, uploadGrace},
		"nothing":     {0, errTooSlow, uploadGrace},
		"too long":    {uploadRate * 2, errTooSlow, 150 * time.Second}, // by its latest time
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sender, receiver := net.Pipe()
				body := newUpload(receiver, receiver)
				body.latest = body.begun.Add(150 * time.Second)
				done, sent := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(sent)
					defer sender.Close()
					tick := time.NewTicker(time.Second)
					defer tick.Stop()
					for time.Since(body.begun) < 120*time.Second || test.want != nil {
						_, _ = sender.Write(bytes.Repeat([]byte("x"), test.bytes))
						select {
						case <-tick.C:
						case <-done:
							return
						}
					}
				}()
				_, err := io.Copy(io.Discard, body)
				receiver.Close()
				close(done)
				<-sent
				if took := time.Since(body.begun); !errors.Is(err, test.want) || took < test.after || took > test.after+2*time.Second {
					t.Errorf("%v after %s, want %v after %s", err, took, test.want, test.after)
				}
			})
		})
	}
}

// Who is cut off is who has kept the provider waiting most for what came, and
// nobody who has only just begun, or whom the provider keeps waiting.
func TestTheSlowestIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := uploads{most: 3}
		begin := func() (*upload, net.Conn) {
			sender, receiver := net.Pipe()
			t.Cleanup(func() { sender.Close(); receiver.Close() })
			return newUpload(receiver, receiver), sender
		}
		ended := make(chan error, 3)
		var cut []string
		read := func(name string, u *upload) {
			u.onCut = func() { cut = append(cut, name) }
			if !all.join(u) {
				t.Errorf("no place for %s", name)
			}
			go func() { _, err := io.Copy(io.Discard, u); ended <- err }()
		}
		slow, slowSender := begin()
		fast, fastSender := begin()
		read("slow", slow)
		read("fast", fast)
		idle, _ := begin() // the provider does not read it
		idle.onCut = func() { cut = append(cut, "idle") }
		all.join(idle)
		_, _ = slowSender.Write(make([]byte, 10))
		_, _ = fastSender.Write(make([]byte, 1000))
		time.Sleep(cutAfter / 2)
		if fourth, _ := begin(); all.anySlow() || all.join(fourth) {
			t.Error("somebody was cut off who had only just begun")
		}
		time.Sleep(cutAfter)
		for _, want := range []string{"slow", "fast"} {
			next, _ := begin()
			if !all.anySlow() || !all.join(next) {
				t.Fatalf("%s was not cut off", want)
			}
			if err := <-ended; !errors.Is(err, errCutOff) || cut[len(cut)-1] != want {
				t.Errorf("%v: %v, want %s", cut, err, want)
			}
		}
		if next, _ := begin(); all.join(next) || len(cut) != 2 {
			t.Errorf("cut off: %v", cut)
		}
	})
}
