package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"

	"github.com/dfaas/dfaas/controller/config"
	"github.com/dfaas/dfaas/faasd"
)

// gatewayFacts is what the OpenFaaS gateway has deployed.
type gatewayFacts struct {
	err  error
	list faasd.List
	// access is why the controller's user cannot read the password.
	access error
}

func gatherGateway(ctx context.Context, c *config.Config) gatewayFacts {
	client, err := faasd.New(faasd.Options{URL: c.GatewayURL(), User: c.GatewayUser, PasswordFile: c.GatewayPasswordFile})
	if err != nil {
		return gatewayFacts{err: err}
	}
	defer client.Close()
	list, err := client.List(ctx)
	return gatewayFacts{err: err, list: list}
}

func gatewayChecks() []check {
	return []check{
		{"gateway", judgeGateway},
		{"function labels", judgeLabels},
		{"function limits", judgeLimits},
	}
}

func judgeGateway(f *Facts) Verdict {
	block, shut := denied(f.Gateway.access)
	switch {
	case f.Gateway.err != nil:
		return judgeGatewayError(f)
	case shut:
		return fail(block.hint(), "gateway_password_file: %s", block)
	case len(f.Gateway.list.Functions) == 0:
		return warn("deploy functions: docs/functions.md", "%s has no functions", f.Config.Gateway)
	default:
		return ok("%s has %s", f.Config.Gateway, count(len(f.Gateway.list.Functions), "function"))
	}
}

// judgeGatewayError tells a gateway that is not there from one that does not let
// the controller in, and from what is no gateway.
func judgeGatewayError(f *Facts) Verdict {
	const address = "gateway must be the address of faasd, an OpenFaaS gateway or dfaas-provider"
	c, err := f.Config, f.Gateway.err
	status, answered := errors.AsType[*faasd.StatusError](err)
	_, password := errors.AsType[*fs.PathError](err)
	network, failed := errors.AsType[net.Error](err)
	refused := answered && (status.Code == http.StatusUnauthorized || status.Code == http.StatusForbidden)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return unreachable(err, "")
	case password:
		return fail("gateway_password_file must name a copy of the gateway's password that dfaas-controller may read (docs/configuration.md)",
			"%s", oneLine(err))
	case refused && c.GatewayUser == "":
		return fail("set gateway_user and gateway_password_file; faasd's password is in /var/lib/faasd/secrets/basic-auth-password (docs/configuration.md)",
			"%s is running, and requires a user and a password", c.Gateway)
	case refused:
		return fail("correct gateway_user, or copy the gateway's password to gateway_password_file anew; then restart dfaas-controller",
			"%s is running, but refuses user %s with the password of %s", c.Gateway, c.GatewayUser, c.GatewayPasswordFile)
	case answered && status.Code == http.StatusNotFound:
		return fail(address, "%s is running, but is no OpenFaaS gateway: %s", c.Gateway, oneLine(err))
	case answered:
		return fail("its log says why", "%s is running, but not healthy: %s", c.Gateway, oneLine(err))
	case isLookUp(err):
		return fail("correct gateway, name the IP address instead, or add the name to /etc/hosts",
			"%s does not resolve: %s", hostOf(c.GatewayURL()), lookUpReason(err))
	case errors.Is(err, syscall.ECONNREFUSED):
		return fail("start it (systemctl start faasd, or dfaas-provider), or set gateway to where it is", "nobody listens at %s", c.Gateway)
	case failed && network.Timeout():
		return fail("is it there, and no firewall between? Restart it if it hangs", "%s does not answer in time", c.Gateway)
	case isGibberish(err):
		return fail(address, "what listens at %s is no OpenFaaS gateway: %s", c.Gateway, oneLine(err))
	default:
		return fail(address, "%s: %s", c.Gateway, oneLine(err))
	}
}

// isGibberish reports whether an answer was not what a gateway says.
func isGibberish(err error) bool {
	_, syntax := errors.AsType[*json.SyntaxError](err)
	_, kind := errors.AsType[*json.UnmarshalTypeError](err)
	return syntax || kind
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return u.Hostname()
}

func judgeLabels(f *Facts) Verdict {
	if f.Gateway.err != nil || len(f.Gateway.list.Functions)+len(f.Gateway.list.Refused) == 0 {
		return skip()
	}
	invalid := append([]string{}, f.Gateway.list.Refused...)
	for _, fn := range f.Gateway.list.Functions {
		for _, err := range []error{fn.Labels.MaxRateErr, fn.Labels.TimeoutErr} {
			if err != nil {
				invalid = append(invalid, fn.Name.String()+": "+oneLine(err))
			}
		}
	}
	if len(invalid) > 0 {
		return warn("deploy them again with valid names and labels: see docs/functions.md", "%s", few(invalid))
	}
	return ok("valid")
}

func judgeLimits(f *Facts) Verdict {
	var without []string
	for _, fn := range f.Gateway.list.Functions {
		if !fn.Labels.HasMaxRate && fn.Labels.MaxRateErr == nil {
			without = append(without, fn.Name.String())
		}
	}
	if len(without) == 0 {
		return skip()
	}
	return ok("without label %s, so %g requests/s are assumed: %s", faasd.LabelMaxRate, f.Config.DefaultMaxrate, few(without))
}
