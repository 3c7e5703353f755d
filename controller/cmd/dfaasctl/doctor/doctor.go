// Package doctor examines a node: it gathers facts about every part, then
// judges them. Gathering talks to the parts and changes nothing; judging is
// pure, one small function for each check.
package doctor

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/dfaas/dfaas/controller/config"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/unixsock"
)

// timeout bounds the whole examination: parts that hang are a finding.
const timeout = 15 * time.Second

// Level is how grave a finding is.
type Level string

// The levels. A check that does not apply, or cannot be made because an
// earlier one failed, has none and is left out.
const (
	OK   Level = "OK"
	Warn Level = "WARN" // it works, but look at it
	Fail Level = "FAIL"
)

// Result is one line of the report.
type Result struct {
	Check string `json:"check"`
	Verdict
}

// Verdict is what a check found.
type Verdict struct {
	Level   Level  `json:"level"`
	Finding string `json:"finding"`
	Hint    string `json:"hint,omitempty"`
}

// Settings is what the examination goes by.
type Settings struct {
	Config config.Config
	// ConfigError is why Config is not what dfaas-controller would accept.
	ConfigError error
	// ConfigFile is where Config is from, "" for no file; Named, whether somebody
	// asked for that one.
	ConfigFile string
	Named      bool
	// Start is how HAProxy's service starts it next; nil if it is not to be looked at.
	Start *Start
	// Running is the controller at Config.AdminSocket, as far as it was found.
	Running Running
}

// Facts is what was found out, by part.
type Facts struct {
	Settings
	Controller controllerFacts
	SPOA       spoaFacts
	HAProxy    haproxyFacts
	HTTP       httpFacts
	Gateway    gatewayFacts
	Trust      trustFacts
	Clock      clockFacts
	// NextStart is whether HAProxy would start.
	NextStart []Result
	// Own are the addresses of this machine.
	Own []netip.Addr
	// User is who the controller runs as, or would; nil if that is not known.
	User *who
	// ConfigAccess is why that user cannot read ConfigFile.
	ConfigAccess error
}

// check is one line of the examination.
type check struct {
	name  string
	judge func(*Facts) Verdict
}

// checks lists all of them in the order of the report.
func checks() []check {
	var all []check
	for _, group := range [][]check{
		configChecks(), controllerChecks(), spoaChecks(), haproxyChecks(), httpChecks(), gatewayChecks(), trustChecks(), clockChecks(),
	} {
		all = append(all, group...)
	}
	return all
}

// Examine gathers the facts and judges them.
func Examine(ctx context.Context, s Settings) []Result {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	facts := gather(ctx, s)
	return judge(&facts)
}

// gather asks all parts at once.
func gather(ctx context.Context, s Settings) Facts {
	f := Facts{Settings: s}
	var wait sync.WaitGroup
	wait.Go(func() { f.Controller = gatherController(ctx, s.Config.AdminSocket) })
	wait.Go(func() { f.SPOA = gatherSPOA(ctx, s.Config.SPOASocket) })
	wait.Go(func() { f.HAProxy = gatherHAProxy(ctx, s.Config.HAProxySocket) })
	wait.Go(func() { f.HTTP = gatherHTTP(ctx, &s.Config) })
	wait.Go(func() { f.Gateway = gatherGateway(ctx, &s.Config) })
	wait.Go(func() { f.Trust = gatherTrust(&s.Config) })
	wait.Go(func() { f.Clock = gatherClock() })
	if s.Start != nil {
		wait.Go(func() { f.NextStart = judgeStart(gatherStart(ctx, *s.Start)) })
	}
	wait.Wait()
	if path, err := unixsock.ParsePath(s.Config.HAProxySocket); err == nil && f.SPOA.err != nil {
		client := haproxy.New(path)
		f.HAProxy.spoa = f.HAProxy.spoa.onceNoticed(ctx, func() backendFacts { return gatherBackend(ctx, client, haproxy.BackendSPOA) })
	}
	f.Own, _ = config.InterfaceAddresses() // without them, less can be told
	if w, found := findUser(s.Running, s.Config.Identity); found {
		f.User = &w
		f.Trust.access(w, &s.Config)
		if s.ConfigFile != "" {
			f.ConfigAccess = w.readable(s.ConfigFile)
		}
		if s.Config.GatewayPasswordFile != "" {
			f.Gateway.access = w.readable(s.Config.GatewayPasswordFile)
		}
	}
	return f
}

// judge makes the report.
func judge(f *Facts) []Result {
	var results []Result
	for _, c := range checks() {
		if v := c.judge(f); v.Level != "" {
			results = append(results, Result{c.name, v})
		}
	}
	return results
}

// Failures counts the results that are Fail.
func Failures(results []Result) int {
	n := 0
	for _, r := range results {
		if r.Level == Fail {
			n++
		}
	}
	return n
}
