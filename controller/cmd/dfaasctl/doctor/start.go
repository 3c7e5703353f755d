package doctor

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dfaas/dfaas/controller/cmd/dfaasctl/listeners"
	"github.com/dfaas/dfaas/controller/cmd/dfaasctl/service"
	"github.com/dfaas/dfaas/controller/config"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/unixsock"
)

// Start is what the examination of HAProxy's next start goes by.
type Start struct {
	Settings *service.Settings
	// RuntimeSocket is that of the HAProxy that would be restarted.
	RuntimeSocket string
	// Program is HAProxy.
	Program string
}

// startFacts is what would happen if HAProxy were started now.
type startFacts struct {
	settings *service.Settings
	check    configCheck
	version  string // of the program, "" if it does not say
	spoa     spoaSocket
	binds    []bindFacts
	gateway  gatewayName
	missing  []string // files that HAProxy reads when it starts
	own      []netip.Addr
}

// spoaSocket is where HAProxy would look for dfaas-spoa.
type spoaSocket struct {
	path, chroot string // path: on this machine; "" if it is no unix socket
	there        bool
	// instead is what DFAAS_SPOA would be for the socket that dfaas-spoa has by
	// default, "" if it is not there or out of HAProxy's sight.
	instead string
}

// defaultListen is where dfaas-spoa listens for HAProxy unless it is told otherwise.
const defaultListen = "/var/lib/haproxy/dfaas/spoa.sock"

const unixPrefix = "unix@"

func gatherSPOASocket(s *service.Settings, listen string) spoaSocket {
	f := spoaSocket{chroot: s.Chroot()}
	path, ok := strings.CutPrefix(s.Get(haproxy.EnvSPOA), unixPrefix)
	if !ok {
		return f
	}
	f.path = filepath.Join(f.chroot, path)
	f.there = isSocket(f.path)
	if inside, err := filepath.Rel(f.chroot, listen); err == nil && filepath.IsLocal(inside) && isSocket(listen) {
		f.instead = unixPrefix + "/" + inside
	}
	return f
}

func isSocket(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().Type() == fs.ModeSocket
}

// configCheck is what `haproxy -c` says of the files.
type configCheck struct {
	err    error // that it could not be run
	failed bool
	said   string
}

// bindFacts is about one setting that opens addresses.
type bindFacts struct {
	setting, value string
	err            error // the value is none
	addresses      []addressFacts
}

type addressFacts struct {
	listeners.Address
	err     error // why a program cannot listen there now, as of listeners.Try
	others  []listeners.Process
	haproxy bool // the HAProxy that would be restarted has it
	unseen  bool
	shared  *service.Bind   // another line of its configuration opens it, too
	free    *netip.AddrPort // one that could be used instead
}

// ExamineStart reports whether HAProxy would start with its service's files and
// settings: what `haproxy -c` says, and what that does not look at. Nothing is
// changed.
func ExamineStart(ctx context.Context, s Start) []Result {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return judgeStart(gatherStart(ctx, s))
}

func gatherStart(ctx context.Context, s Start) *startFacts {
	f := &startFacts{settings: s.Settings}
	f.own, _ = config.InterfaceAddresses() // only for the hints
	f.check = checkConfig(ctx, s)
	f.version, _ = haproxy.Release(ctx, s.Program) // that it does not say is a finding
	f.spoa = gatherSPOASocket(s.Settings, defaultListen)
	own := ownProcesses(ctx, s)
	others := otherBinds(ctx, s.Settings)
	for _, name := range []string{haproxy.EnvBind, haproxy.EnvTLSBind, haproxy.EnvStats} {
		if value := s.Settings.Get(name); value != "off" {
			f.binds = append(f.binds, gatherBind(ctx, name, value, own, others))
		}
	}
	f.binds = append(f.binds, gatherBind(ctx, haproxy.EnvInstance, haproxy.FallbackAddress(s.Settings.Get(haproxy.EnvInstance)), own, others))
	f.gateway = lookUp(ctx, s.Settings.Get(haproxy.EnvGateway))
	if !s.Settings.Loaded() {
		return f
	}
	files := []string{s.Settings.Get(haproxy.EnvSPOEConf)}
	if s.Settings.Get(haproxy.EnvTLSBind) != "off" {
		dir := s.Settings.Get(haproxy.EnvTLSDir)
		files = append(files, filepath.Join(dir, haproxy.CertificateFile), filepath.Join(dir, haproxy.AnchorsFile))
	}
	for _, file := range files {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			f.missing = append(f.missing, file)
		}
	}
	return f
}

// checkConfig lets HAProxy check the files, as its service does.
func checkConfig(ctx context.Context, s Start) configCheck {
	cmd := exec.CommandContext(ctx, s.Program, append([]string{"-Ws", "-c"}, s.Settings.Options()...)...)
	cmd.Env = append(os.Environ(), s.Settings.Environ()...)
	output, err := cmd.CombinedOutput()
	var alerts []string
	for line := range strings.Lines(string(output)) {
		if !strings.HasPrefix(line, "[ALERT]") {
			continue
		}
		_, said, _ := strings.Cut(line, " : ")
		said = strings.TrimPrefix(strings.TrimSpace(said), "config : ")
		// These only sum up.
		if !strings.HasPrefix(said, "Error(s) found") && !strings.HasPrefix(said, "Fatal errors found") {
			alerts = append(alerts, strings.TrimSuffix(said, "."))
		}
	}
	c := configCheck{said: few(alerts)}
	switch _, exited := errors.AsType[*exec.ExitError](err); {
	case err != nil && ctx.Err() != nil:
		c.err = errors.New("it did not end in time: most likely a name in the configuration cannot be looked up")
	case exited:
		c.failed = true
	default:
		c.err = err
	}
	return c
}

func runtimeInfo(ctx context.Context, socket string) (haproxy.Info, error) {
	path, err := unixsock.ParseSetting("haproxy_socket", socket)
	if err != nil {
		return haproxy.Info{}, err
	}
	return haproxy.New(path).Info(ctx)
}

// ownProcesses are those of the HAProxy that would be restarted: what they have
// open will be free.
func ownProcesses(ctx context.Context, s Start) map[int]bool {
	all, err := listeners.Named("haproxy")
	if err != nil {
		return nil
	}
	master := 0
	if info, err := runtimeInfo(ctx, s.RuntimeSocket); err == nil {
		master = info.PID
	} else if text, err := os.ReadFile(s.Settings.PIDFile()); err == nil {
		// One line for each process.
		first, _, _ := strings.Cut(string(text), "\n")
		master, _ = strconv.Atoi(strings.TrimSpace(first))
	}
	// What answers is a worker, whose parent is the master unless there is none.
	for _, p := range all {
		if p.PID == master && slices.ContainsFunc(all, func(q listeners.Process) bool { return q.PID == p.Parent }) {
			master = p.Parent
			break
		}
	}
	own := map[int]bool{}
	for _, p := range all {
		if p.PID == master || p.Parent == master {
			own[p.PID] = true
		}
	}
	return own
}

// otherBind is a line of a file that is not the drop-in's, and what it opens.
type otherBind struct {
	service.Bind
	addresses []listeners.Address
}

func otherBinds(ctx context.Context, s *service.Settings) []otherBind {
	var all []otherBind
	for _, b := range s.OtherBinds() {
		if addresses, err := listeners.Parse(ctx, b.Address); err == nil {
			all = append(all, otherBind{b, addresses})
		}
	}
	return all
}

func gatherBind(ctx context.Context, setting, value string, own map[int]bool, others []otherBind) bindFacts {
	b := bindFacts{setting: setting, value: value}
	addresses, err := listeners.Parse(ctx, value)
	if b.err = err; err != nil {
		return b
	}
	for _, address := range addresses {
		a := addressFacts{Address: address, err: listeners.Try(address)}
		for _, other := range others {
			if slices.ContainsFunc(other.addresses, a.Overlaps) {
				a.shared = &other.Bind
			}
		}
		if errors.Is(a.err, listeners.ErrTaken) {
			a.holders(own)
		}
		b.addresses = append(b.addresses, a)
	}
	return b
}

func (a *addressFacts) holders(own map[int]bool) {
	holders, err := listeners.At(a.Address)
	if err != nil {
		a.unseen = true
		return
	}
	a.unseen = holders.Unseen
	for _, p := range holders.Processes {
		if own[p.PID] {
			a.haproxy = true
		} else {
			a.others = append(a.others, p)
		}
	}
	if free, ok := listeners.Free(a.Address); ok && a.Abstract == "" {
		a.free = &free.AddrPort
	}
}
