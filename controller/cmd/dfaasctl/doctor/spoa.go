package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"

	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/table"
)

// spoaFacts is what dfaas-spoa says over its control socket.
type spoaFacts struct {
	err    error
	report meter.Report
}

func gatherSPOA(ctx context.Context, socket string) spoaFacts {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	var f spoaFacts
	if f.report, f.err = readMeter(ctx, client); f.err != nil {
		f.err = explainSPOA(socket, f.err)
	}
	return f
}

func readMeter(ctx context.Context, client *http.Client) (meter.Report, error) {
	var report meter.Report
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://dfaas-spoa/v1/meter", nil)
	if err != nil {
		return report, err
	}
	response, err := client.Do(request)
	if err != nil {
		return report, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return report, fmt.Errorf("GET /v1/meter answered %s", response.Status)
	}
	err = json.NewDecoder(io.LimitReader(response.Body, table.MaxBytes)).Decode(&report)
	return report, err
}

func explainSPOA(socket string, err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // its URL is made up
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("dfaas-spoa does not listen at %s", socket)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("dfaas-spoa hangs: no answer at %s", socket)
	default:
		return fmt.Errorf("control socket %s: %w", socket, err)
	}
}

func spoaChecks() []check {
	return []check{
		{"spoa", judgeControlSocket},
		{"spoa table", judgeTable},
	}
}

func judgeControlSocket(f *Facts) Verdict {
	if f.SPOA.err != nil {
		return unreachable(f.SPOA.err, "systemctl start dfaas-spoa; its control socket must be the controller's spoa_socket")
	}
	return ok("answers at %s", f.Config.SPOASocket)
}

func judgeTable(f *Facts) Verdict {
	const mend = "the controller sends one every few seconds: see dfaasctl status and journalctl -u dfaas-controller"
	switch r := f.SPOA.report; {
	case f.SPOA.err != nil:
		return skip()
	case r.TableVersion == 0:
		return fail(mend, "no table yet: every call is served here, none is forwarded")
	case !r.TableFresh:
		return fail(mend, "version %d is out of date: every call is served here, none is forwarded", r.TableVersion)
	default:
		return ok("version %d, fresh", r.TableVersion)
	}
}
