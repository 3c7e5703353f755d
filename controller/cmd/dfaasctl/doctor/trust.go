package doctor

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"github.com/dfaas/dfaas/controller/config"
	"github.com/dfaas/dfaas/controller/identity"
)

// trustFacts is what the secrets' files are like; never what is in them.
type trustFacts struct {
	identityErr error
	identityID  string
	keyErr      error // of the federation key, if one is configured
	// Why the controller's user cannot read them.
	identityAccess, keyAccess error
}

// access finds out what the controller's user may read: this program's may be
// another.
func (t *trustFacts) access(w who, c *config.Config) {
	t.identityAccess = w.readable(c.Identity)
	if c.FederationKey != "" {
		t.keyAccess = w.readable(c.FederationKey)
	}
}

func gatherTrust(c *config.Config) trustFacts {
	var f trustFacts
	id, err := identity.Load(c.Identity)
	if f.identityErr = err; err == nil {
		f.identityID = id.String()
	}
	if c.FederationKey != "" {
		_, f.keyErr = identity.LoadFederationKey(c.FederationKey)
	}
	return f
}

func owner(path string) int {
	info, err := os.Stat(path)
	if err != nil {
		return -1
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1
	}
	return int(stat.Uid)
}

func trustChecks() []check {
	return []check{
		{"identity", judgeIdentity},
		{"federation key", judgeFederationKey},
		{"who may join", judgeMembership},
	}
}

// noStart is what comes of a file that is not there or cannot be read.
func (f *Facts) noStart() string {
	if f.Controller.err == nil {
		return "dfaas-controller would not start again"
	}
	return "dfaas-controller will not start"
}

func judgeIdentity(f *Facts) Verdict {
	path, running := f.Config.Identity, f.Controller.status.NodeID
	block, shut := denied(f.Trust.identityAccess)
	switch t := f.Trust; {
	case errors.Is(t.identityErr, fs.ErrNotExist) && running != "":
		return warn("if that is not where its identity is, name its configuration with --config; else restore the file: "+
			"with another one this is another node", "the controller runs, but there is no %s", path)
	case errors.Is(t.identityErr, fs.ErrNotExist):
		return warn("start dfaas-controller, which makes it, or run dfaasctl id --create", "no %s yet", path)
	case t.identityErr != nil:
		return unreachable(t.identityErr, "the file must be a regular one of mode 0600 that belongs to the controller's user")
	case running != "" && running != t.identityID:
		return warn("name the controller's configuration with --config; if it is the right one, restart dfaas-controller",
			"%s is %s, the controller runs as %s", path, t.identityID, running)
	case shut:
		return fail(block.hint(), "%s: %s", f.noStart(), block)
	default:
		return ok("%s, mode 0600", path)
	}
}

func judgeFederationKey(f *Facts) Verdict {
	path := f.Config.FederationKey
	block, shut := denied(f.Trust.keyAccess)
	switch t := f.Trust; {
	case path == "":
		return skip()
	case errors.Is(t.keyErr, fs.ErrNotExist):
		return fail("copy it from another member; only the first node of a new federation makes one: dfaasctl keygen "+path,
			"no %s: %s", path, f.noStart())
	case t.keyErr != nil:
		return unreachable(t.keyErr, "it must be a swarm key of mode 0600 that belongs to the controller's user")
	case shut:
		return fail(block.hint(), "%s: %s", f.noStart(), block)
	default:
		return ok("%s, mode 0600", path)
	}
}

func judgeMembership(f *Facts) Verdict {
	c := f.Config
	switch {
	case c.OpenFederation:
		return warn("set federation_key (dfaasctl keygen makes one) or allow_peers instead of open_federation",
			"anybody who reaches this node may join the federation")
	case c.FederationKey != "" && len(c.AllowPeers) > 0:
		return ok("%s, listed, with the federation key", count(len(c.AllowPeers), "peer"))
	case c.FederationKey != "":
		return ok("whoever has the federation key")
	case len(c.AllowPeers) > 0:
		return ok("%s, listed", count(len(c.AllowPeers), "peer"))
	default:
		return skip() // the configuration is not valid, which is said already
	}
}
