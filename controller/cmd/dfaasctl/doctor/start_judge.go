package doctor

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dfaas/dfaas/controller/cmd/dfaasctl/listeners"
	"github.com/dfaas/dfaas/haproxy"
)

func judgeStart(f *startFacts) []Result {
	results := []Result{
		{"haproxy version", judgeRelease(f.version)},
		{"configuration files", judgeConfigCheck(f)},
		{"drop-in", judgeLoaded(f)},
		{"settings", judgeNames(f)},
	}
	if !f.settings.Loaded() {
		return results // the rest is about the drop-in
	}
	for _, b := range f.binds {
		results = append(results, Result{b.setting, judgeBind(f, &b)})
	}
	return append(results,
		Result{haproxy.EnvSPOA, judgeSPOASocket(f)},
		Result{haproxy.EnvGateway, f.gateway.judge(haproxy.EnvGateway + " in " + f.settings.File)},
		Result{haproxy.EnvNodeID, judgeNodeIDSetting(f)},
	)
}

func judgeConfigCheck(f *startFacts) Verdict {
	// What it complains of may be among what else was found out.
	switch {
	case len(f.missing) > 0:
		return fail("make install copies dfaas-spoe.conf, dfaas-controller makes the certificates (docs/install.md, TLS between nodes)",
			"HAProxy will not start without %s", few(f.missing))
	case errors.Is(f.check.err, errNoProgram):
		return fail("apt install haproxy", "%s", oneLine(f.check.err))
	case f.check.err != nil:
		return fail("haproxy -c "+strings.Join(f.settings.Options(), " "), "haproxy -c: %s", oneLine(f.check.err))
	case f.check.failed && judgeRelease(f.version).Level == Fail:
		return fail("upgrade it; the drop-in needs what later versions have", "HAProxy does not accept the files, for it is %s: %s", f.version, f.check.said)
	case f.check.failed:
		return fail("correct it: until then HAProxy will not start, and a restart takes all its sites down", "%s", f.check.said)
	default:
		return ok("haproxy -c accepts %s", strings.Join(f.settings.Files(), " "))
	}
}

func judgeLoaded(f *startFacts) Verdict {
	if !f.settings.Loaded() {
		return warn(`EXTRAOPTS="-S /run/haproxy-master.sock -f /etc/haproxy/dfaas.cfg" in `+f.settings.File,
			"HAProxy would start without %s", "dfaas.cfg")
	}
	return ok("would be loaded")
}

// judgeSPOASocket finds an agent that HAProxy would not find. It starts all the same.
func judgeSPOASocket(f *startFacts) Verdict {
	value, s := f.settings.Get(haproxy.EnvSPOA), f.spoa
	switch {
	case s.path == "" || s.there:
		return ok("%s", value)
	case s.instead != "":
		return warn("set "+haproxy.EnvSPOA+"="+s.instead+" in "+f.settings.File+", or correct chroot in haproxy.cfg",
			"%s with chroot %s is %s, where no dfaas-spoa listens: every call would be served here", value, s.chroot, s.path)
	default:
		return warn("systemctl start dfaas-spoa; its --listen must be that path", "%s with chroot %s is %s, where no dfaas-spoa listens: every call would be served here",
			value, s.chroot, s.path)
	}
}

// judgeNames finds settings that were written and that nobody reads.
func judgeNames(f *startFacts) Verdict {
	var unknown, hints []string
	for _, u := range f.settings.Unknown() {
		unknown = append(unknown, u.Name)
		if u.Meant != "" {
			hints = append(hints, fmt.Sprintf("write %s instead of %s", u.Meant, u.Name))
		} else {
			hints = append(hints, "the settings that there are stand at the head of dfaas.cfg")
		}
	}
	slices.Sort(hints)
	if len(unknown) > 0 {
		return warn(strings.Join(slices.Compact(hints), "; "), "in %s, nobody reads %s", f.settings.File, few(unknown))
	}
	return ok("all names in %s that begin with DFAAS_ are the drop-in's", f.settings.File)
}

func judgeBind(f *startFacts, b *bindFacts) Verdict {
	if b.err != nil {
		return fail("correct "+b.setting+" in "+f.settings.File+": HAProxy will not start with it", "%s", oneLine(b.err))
	}
	var held []string
	for i := range b.addresses {
		a := &b.addresses[i]
		if v := f.judgeAddress(b, a); v.Level != OK {
			return v
		}
		if a.haproxy {
			held = append(held, a.String())
		}
	}
	if len(held) > 0 {
		return ok("%s, which HAProxy has now", b.value)
	}
	return ok("%s is free", b.value)
}

func (f *startFacts) judgeAddress(b *bindFacts, a *addressFacts) Verdict {
	const consequence = ": HAProxy will not start, and a restart takes all its sites down"
	switch {
	case a.shared != nil:
		return fail(f.instead(b, a), "%s:%d opens %s, too: HAProxy would give each connection to one of both by chance",
			filepath.Base(a.shared.File), a.shared.Line, a)
	case a.err == nil, errors.Is(a.err, listeners.ErrPrivileged):
		return ok("free")
	case errors.Is(a.err, listeners.ErrElsewhere):
		return warn(fmt.Sprintf("set %s in %s to an address of this machine (%s), or without one, as :%d", b.setting, f.settings.File, addresses(f.own), a.Port()),
			"%s is not an address of this machine: HAProxy starts, and is not reached there before it is", a.Addr())
	case !errors.Is(a.err, listeners.ErrTaken):
		return fail(f.instead(b, a), "%s: %s", a, oneLine(a.err))
	case len(a.others) > 0:
		return fail(f.instead(b, a), "%s is taken by %s%s", a, processes(a.others), consequence)
	case a.haproxy:
		return ok("HAProxy's")
	case a.unseen:
		return warn("run it as root", "%s is taken, perhaps by HAProxy itself: this user may not see by whom", a)
	default:
		return fail(f.instead(b, a), "%s is taken, but nobody of this machine's processes has it: a container, or the kernel%s", a, consequence)
	}
}

// instead says what to do about an address that cannot be used.
func (f *startFacts) instead(b *bindFacts, a *addressFacts) string {
	if a.Abstract != "" {
		return "another HAProxy has the same DFAAS_INSTANCE: set it to a word of its own in " + f.settings.File
	}
	hint := fmt.Sprintf("set %s in %s to an address that is free", b.setting, f.settings.File)
	if a.free != nil {
		hint += fmt.Sprintf(", such as %s=%s", b.setting, shortAddress(*a.free))
	}
	if b.setting != haproxy.EnvStats {
		hint += ", and http_address in /etc/dfaas/controller.yaml to the same port"
	}
	return hint + "; or stop what is there"
}

func judgeNodeIDSetting(f *startFacts) Verdict {
	if id := f.settings.Get(haproxy.EnvNodeID); !haproxy.ValidPeerID(id) {
		return warn("echo DFAAS_NODE_ID=$(dfaasctl id) >> "+f.settings.File, "%q is not the id of a node: answers would not tell who made them", id)
	}
	return ok("%s", f.settings.Get(haproxy.EnvNodeID))
}

func processes(all []listeners.Process) string {
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = fmt.Sprintf("%s, process %d", p.Name, p.PID)
	}
	return few(names)
}
