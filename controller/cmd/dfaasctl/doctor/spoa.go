package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/dfaas/dfaas/internal/unixsock"
	"github.com/dfaas/dfaas/spoa/control"
)

// spoaFacts is what dfaas-spoa says over its control socket.
type spoaFacts struct {
	err    error
	health control.Health
}

func gatherSPOA(ctx context.Context, socket string) spoaFacts {
	path, err := unixsock.ParseSetting("spoa_socket", socket)
	if err != nil {
		return spoaFacts{err: err}
	}
	client := control.New(path)
	defer client.Close()
	health, err := client.Health(ctx)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		err = fmt.Errorf("dfaas-spoa does not listen at %s", socket)
	}
	return spoaFacts{err, health}
}

func spoaChecks() []check {
	return []check{
		{"spoa", judgeControlSocket},
		{"spoa table", judgeTable},
		{"spoa refusals", judgeTableRefusals},
	}
}

func judgeControlSocket(f *Facts) Verdict {
	if f.SPOA.err != nil {
		hint := "systemctl start dfaas-spoa; if it does not stay: journalctl -u dfaas-spoa"
		if up, _ := f.HAProxy.spoa.up(); up {
			hint = "it runs, for HAProxy reaches it: spoa_socket must be its control socket (dfaas-spoa --control)"
		}
		return unreachable(f.SPOA.err, hint)
	}
	return ok("%s, answers at %s", f.SPOA.health.Version, f.Config.SPOASocket)
}

func judgeTable(f *Facts) Verdict {
	hint := "the controller sends one every few seconds: journalctl -u dfaas-controller says why not"
	switch c := f.component("spoa"); {
	case f.Controller.err != nil:
		hint = "the controller sends it, and does not answer: see there"
	case c != nil && !c.OK:
		hint = "the controller cannot send one: " + oneLine(errors.New(c.Error))
	}
	switch h := f.SPOA.health; {
	case f.SPOA.err != nil:
		return skip()
	case h.TableVersion == 0:
		return fail(hint, "no table yet: every call is served here, none is forwarded")
	case !h.Fresh:
		return fail(hint, "version %d is out of date: every call is served here, none is forwarded", h.TableVersion)
	default:
		return ok("version %d, fresh", h.TableVersion)
	}
}

// judgeTableRefusals finds a controller and an SPOA that do not understand
// each other.
func judgeTableRefusals(f *Facts) Verdict {
	if n := f.SPOA.health.TablesRefused; n > 0 {
		return warn("run dfaas-spoa and dfaas-controller of the same version; journalctl -u dfaas-spoa says what was wrong",
			"since its start it did not accept %s", count(int(n), "table"))
	}
	return skip()
}
