package doctor

import (
	"context"

	"github.com/dfaas/dfaas/controller/config"
	"github.com/dfaas/dfaas/faasd"
)

// gatewayFacts is what the OpenFaaS gateway has deployed.
type gatewayFacts struct {
	err  error
	list faasd.List
}

func gatherGateway(ctx context.Context, c *config.Config) gatewayFacts {
	client, err := faasd.New(faasd.Options{URL: c.GatewayURL(), User: c.GatewayUser, PasswordFile: c.GatewayPasswordFile})
	if err != nil {
		return gatewayFacts{err: err}
	}
	defer client.Close()
	list, err := client.List(ctx)
	return gatewayFacts{err, list}
}

func gatewayChecks() []check {
	return []check{
		{"gateway", judgeGateway},
		{"function labels", judgeLabels},
		{"function limits", judgeLimits},
	}
}

func judgeGateway(f *Facts) Verdict {
	if f.Gateway.err != nil {
		return unreachable(f.Gateway.err, "start the gateway; the controller reaches it by gateway, gateway_user and gateway_password_file")
	}
	if len(f.Gateway.list.Functions) == 0 {
		return warn("deploy functions with faas-cli", "%s has no functions", f.Config.Gateway)
	}
	return ok("%s has %s", f.Config.Gateway, count(len(f.Gateway.list.Functions), "function"))
}

func judgeLabels(f *Facts) Verdict {
	if f.Gateway.err != nil || len(f.Gateway.list.Functions)+len(f.Gateway.list.Refused) == 0 {
		return skip()
	}
	invalid := append([]string{}, f.Gateway.list.Refused...)
	for _, fn := range f.Gateway.list.Functions {
		for _, err := range []error{fn.Labels.MaxRateErr, fn.Labels.TimeoutErr} {
			if err != nil {
				invalid = append(invalid, fn.Name+": "+oneLine(err))
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
			without = append(without, fn.Name)
		}
	}
	if len(without) == 0 {
		return skip()
	}
	return ok("without label %s, so %g requests/s are assumed: %s", faasd.LabelMaxRate, f.Config.DefaultMaxrate, few(without))
}
