package haproxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/machine"
	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/spoa/agent"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/route"
	"github.com/dfaas/dfaas/spoa/table"
)

// What makes this program an agent instead of a test: its socket, and how late its
// answers are.
const envAgent, envAgentDelay = "DFAAS_TEST_AGENT", "DFAAS_TEST_AGENT_DELAY"

// runAgent serves a table in which f0 is at home, until it is killed.
func runAgent(socket string, delay time.Duration) error {
	tab := testtable.New(1, 0)
	tab.TTLMillis = table.MaxTTL.Milliseconds()
	tab.Functions[0].Local.Rate = limit.Unlimited()
	valid, err := tab.Validate(table.Limits{})
	if err != nil {
		return err
	}
	router := route.NewRouter(meter.New(time.Now()))
	router.Swap(valid, time.Now())
	_ = os.Remove(socket) // of one that was killed
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	return agent.New(router, zerolog.Nop()).Serve(context.Background(), lateListener{l, delay})
}

// lateListener accepts connections whose answers are late.
type lateListener struct {
	net.Listener
	delay time.Duration
}

func (l lateListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil || l.delay == 0 {
		return conn, err
	}
	return lateConn{conn, l.delay}, nil
}

type lateConn struct {
	net.Conn
	delay time.Duration
}

func (c lateConn) Write(p []byte) (int, error) {
	time.Sleep(c.delay)
	return c.Conn.Write(p)
}

// startAgent starts the agent as a process of its own.
func startAgent(t *testing.T, socket string, delay time.Duration) *os.Process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envAgent+"="+socket, envAgentDelay+"="+delay.String())
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be dead already
		_ = cmd.Wait()
	})
	return cmd.Process
}

// operatorsFrontend asks by the lines of the drop-in that docs/install.md has
// operators copy, and says in each answer what became of the question.
func operatorsFrontend(t *testing.T, bind, gateway string) string {
	t.Helper()
	_, lines, found := strings.Cut(haproxy.Config(), "\n    filter spoe engine dfaas ")
	lines, _, ended := strings.Cut(lines, "\n    default_backend ")
	if !found || !ended {
		t.Fatal("fe_dfaas does not ask dfaas-spoa")
	}
	return fmt.Sprintf(`
frontend fe_operator from dfaas
    bind %s
    filter spoe engine dfaas %s
    http-response set-header Test-Outcome "%%[var(txn.dfaas.error)]/%%[var(txn.dfaas_unasked)]/%%[var(txn.dfaas.action)]"
    default_backend be_dfaas_local

frontend fe_gateway from dfaas
    bind %s
    http-request return status 200 content-type text/plain string "served\n"
`, bind, lines, gateway)
}

// outcomes is what became of calls.
type outcomes struct {
	calls, answered, inVain, unasked, failed atomic.Int64

	mu   sync.Mutex
	took []time.Duration
}

func (o *outcomes) add(took time.Duration, outcome string, err error) {
	o.calls.Add(1)
	switch {
	case err != nil:
		o.failed.Add(1)
	case outcome == "//local":
		o.answered.Add(1)
	case outcome == "/1/":
		o.unasked.Add(1)
	default:
		o.inVain.Add(1)
	}
	o.mu.Lock()
	o.took = append(o.took, took)
	o.mu.Unlock()
}

func (o *outcomes) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	slices.Sort(o.took)
	n, slow := len(o.took), 0
	for _, t := range o.took {
		if t > 15*time.Millisecond {
			slow++
		}
	}
	return fmt.Sprintf("%d calls: %d answered, %d asked in vain, %d not asked, %d failed; median %s, 99 %% %s, slowest %s, %d over 15 ms",
		n, o.answered.Load(), o.inVain.Load(), o.unasked.Load(), o.failed.Load(), o.took[n/2], o.took[n*99/100], o.took[n-1], slow)
}

// callers call f0 2,000 times a second, until the context ends, and count into what
// counts holds at the time.
const callers, callerTick = 40, 20 * time.Millisecond

func callOften(ctx context.Context, addr string, counts *atomic.Pointer[outcomes]) (wait func()) {
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			time.Sleep(time.Duration(i) * callerTick / callers) // not all at once
			tick := time.NewTicker(callerTick)
			defer tick.Stop()
			var conn net.Conn
			var r *bufio.Reader
			for {
				select {
				case <-tick.C:
				case <-ctx.Done():
					if conn != nil {
						conn.Close()
					}
					return
				}
				started, o := time.Now(), counts.Load()
				outcome, err := "", error(nil)
				if conn == nil {
					if conn, err = net.Dial("tcp", addr); err == nil {
						r = bufio.NewReader(conn)
					}
				}
				if err == nil {
					outcome, err = callOnce(conn, r)
				}
				o.add(time.Since(started), outcome, err)
				if err != nil && conn != nil {
					conn.Close()
					conn = nil
				}
			}
		})
	}
	return all.Wait
}

func callOnce(conn net.Conn, r *bufio.Reader) (outcome string, err error) {
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, "GET /function/f0 HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
		return "", err
	}
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("answered %s", response.Status)
	}
	return response.Header.Get("Test-Outcome"), nil
}

// TestCircuitBreaker: an agent that is killed, hangs, or is too slow costs hardly
// anybody more than the time that a question may take, and HAProxy no more of the
// CPU, at 2,000 calls a second and with every version. It does not run beside the
// other tests.
func TestCircuitBreaker(t *testing.T) {
	for _, version := range versions() {
		t.Run(version.name, func(t *testing.T) {
			addr, gateway := haproxytest.FreeAddr(t), haproxytest.FreeAddr(t)
			h := haproxytest.Start(t, haproxytest.Options{
				Binary: version.binary(t), NodeID: idA, Gateway: gateway, Quiet: true, Config: operatorsFrontend(t, addr, gateway),
			})
			running := startAgent(t, h.SPOA, 0)
			counts := new(atomic.Pointer[outcomes])
			counts.Store(new(outcomes))
			ctx, cancel := context.WithCancel(t.Context())
			wait := callOften(ctx, addr, counts)
			defer wait()
			defer cancel()
			// during returns what became of the calls of a while, and of HAProxy's CPU time, us per call,
			// and how long it was: a busy machine wakes nobody in time.
			during := func(span time.Duration) (*outcomes, float64, time.Duration) {
				before, err := machine.ProcessCPU(h.WorkerPID())
				if err != nil {
					t.Fatal(err)
				}
				counted, began := new(outcomes), time.Now()
				counts.Store(counted)
				time.Sleep(span)
				after, err := machine.ProcessCPU(h.WorkerPID())
				if err != nil {
					t.Fatal(err)
				}
				counts.Store(new(outcomes))
				took := time.Since(began)
				time.Sleep(2 * callerTick) // for the last answers
				return counted, float64((after - before).Microseconds()) / float64(counted.calls.Load()), took
			}
			well := func() {
				t.Helper()
				eventually(t, "calls are asked for and answered", func() bool {
					o, _, _ := during(100 * time.Millisecond)
					return o.answered.Load() > o.calls.Load()/2
				})
			}
			well()
			usual, usualCPU, _ := during(time.Second)
			t.Logf("usual: %s; %.1f us of CPU a call", usual, usualCPU)
			const span = 1500 * time.Millisecond
			for _, fault := range []struct {
				name            string
				inflict, repair func()
			}{
				{"kill -9", func() { _ = running.Kill() }, func() { running = startAgent(t, h.SPOA, 0) }},
				{"SIGSTOP", func() { _ = running.Signal(syscall.SIGSTOP) }, func() { _ = running.Signal(syscall.SIGCONT) }},
				{"slow", func() {
					_ = running.Kill()
					running = startAgent(t, h.SPOA, 25*time.Millisecond)
				}, func() {
					_ = running.Kill()
					running = startAgent(t, h.SPOA, 0)
				}},
			} {
				fault.inflict()
				o, cpu, took := during(span)
				t.Logf("%s: %s; %.1f us of CPU a call", fault.name, o, cpu)
				// 20 until it opens, as many as are under way then, and one each 100 ms for each of two threads.
				most := int64(20 + callers + 2*took/(100*time.Millisecond))
				if failed, inVain := o.failed.Load(), o.inVain.Load(); failed > 0 || inVain > most {
					t.Errorf("%s: %d calls failed, %d were asked for in vain, of which there may be %d", fault.name, failed, inVain, most)
				}
				if o.unasked.Load() == 0 {
					t.Errorf("%s: the circuit breaker did not open", fault.name)
				}
				if cpu > 3*usualCPU {
					t.Errorf("%s: %.1f us of HAProxy's CPU time a call, usually %.1f", fault.name, cpu, usualCPU)
				}
				fault.repair()
				well()
			}
		})
	}
}
