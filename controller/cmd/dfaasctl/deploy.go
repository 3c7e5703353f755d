package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/openfaas/faas-provider/types"
	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/controller/cmd/dfaasctl/rollout"
	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/internal/cli"
	"github.com/dfaas/dfaas/internal/clip"
)

// deployment is what deploy is told.
type deployment struct {
	image, process, file string
	labels, environment  []string // NAME=VALUE
	gateways, to         []string
	user, passwordFile   string
	patience             rollout.Patience
	wait                 time.Duration
}

// maxGateways bounds how many nodes are talked to at once.
const maxGateways = 1000

func (a *app) deployCommand() *cobra.Command {
	var d deployment
	c := &cobra.Command{
		Use:   "deploy FUNCTION | deploy -f STACK.yaml",
		Short: "Deploy functions at one or more nodes",
		Long: `Deploy a function, or those of an OpenFaaS stack file, at the gateways of one or more nodes, at all of them at
the same time. A function that is there already is updated, so it may be repeated. A gateway that does not answer, or
cannot do it now, is tried again.

Without --gateway it is the gateway of this node, as the controller's configuration says. The exit code is 1 if anything
could not be done.`,
		Example: `  dfaasctl deploy figlet --label dfaas.maxrate=20
  dfaasctl deploy -f stack.yaml --gateway edge-1=http://192.0.2.1:8080,edge-2=http://192.0.2.2:8080 --wait 1m
  dfaasctl deploy lines --image local --process 'sed -u s/^/got:/' --env mode=streaming
  dfaasctl deploy cat --gateway $(dfaas-emulator ps -o gateways) --to node-1,node-3`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			functions, err := d.functions(args)
			if err != nil {
				return err
			}
			gateways, closeAll, err := a.gateways(&d)
			if err != nil {
				return err
			}
			defer closeAll()
			d.patience.Ready = d.wait
			results := rollout.Run(c.Context(), gateways, functions, d.patience, d.complain(a.Err))
			if err := a.print(results, func() table { return resultTable(results) }); err != nil {
				return err
			}
			if n := countFailed(results); n > 0 {
				return fmt.Errorf("%d of %d deployments failed", n, len(results))
			}
			return nil
		},
	}
	flags := c.Flags()
	flags.StringVarP(&d.file, "file", "f", "", "OpenFaaS stack file with the functions")
	flags.StringVar(&d.image, "image", "", "image of the function (default: its name)")
	flags.StringVar(&d.process, "process", "", "command that the function runs, if not its image's own (fprocess)")
	flags.StringArrayVar(&d.labels, "label", nil, "label, NAME=VALUE, such as dfaas.maxrate=20; may be repeated")
	flags.StringArrayVar(&d.environment, "env", nil, "environment variable, NAME=VALUE; may be repeated")
	flags.StringSliceVar(&d.gateways, "gateway", nil, "gateways of the nodes, [NAME=]URL, separated by commas; may be repeated")
	flags.StringSliceVar(&d.to, "to", nil, "only the gateways of these names")
	flags.StringVar(&d.user, "gateway-user", "", "user for the gateways' basic authentication")
	flags.StringVar(&d.passwordFile, "gateway-password-file", "", "file with the gateways' password, and nothing else")
	flags.IntVar(&d.patience.Tries, "tries", 20, "how often a gateway is tried that does not answer or cannot do it now, 1 to 1000")
	flags.DurationVar(&d.patience.Every, "every", 10*time.Second, "time between two tries")
	flags.DurationVar(&d.wait, "wait", 0, "wait until the function is ready, for this long at most (default: do not wait)")
	return c
}

// functions is what to deploy.
func (d *deployment) functions(args []string) ([]types.FunctionDeployment, error) {
	switch {
	case d.patience.Tries < 1 || d.patience.Tries > 1000:
		return nil, cli.Usage(fmt.Errorf("--tries %d is not within 1 and 1000", d.patience.Tries))
	case d.patience.Every < 0 || d.wait < 0:
		return nil, cli.Usage(errors.New("--every and --wait cannot be below 0"))
	case d.file != "" && len(args) > 0:
		return nil, cli.Usage(errors.New("either FUNCTION or --file, not both"))
	case d.file != "" && (d.image != "" || d.process != "" || len(d.labels) > 0 || len(d.environment) > 0):
		return nil, cli.Usage(errors.New("--image, --process, --label and --env are for one FUNCTION: write them into the stack file"))
	case d.file != "":
		functions, err := rollout.ReadStack(d.file)
		if err != nil {
			return nil, cli.Usage(err)
		}
		return functions, nil
	case len(args) == 0:
		return nil, cli.Usage(errors.New("which function? Name it, or a stack file with --file"))
	}
	labels, err := pairs("--label", d.labels)
	if err != nil {
		return nil, err
	}
	environment, err := pairs("--env", d.environment)
	if err != nil {
		return nil, err
	}
	name, namespace := faasd.SplitName(args[0], "")
	return []types.FunctionDeployment{{
		Service: name, Namespace: namespace, Image: cmp.Or(d.image, name), EnvProcess: d.process, EnvVars: environment, Labels: &labels,
	}}, nil
}

// pairs reads NAME=VALUE.
func pairs(flag string, texts []string) (map[string]string, error) {
	values := make(map[string]string, len(texts))
	for _, text := range texts {
		name, value, found := strings.Cut(text, "=")
		if _, twice := values[name]; !found || name == "" || twice {
			return nil, cli.Usage(fmt.Errorf("%s %q: use NAME=VALUE, each name once", flag, text))
		}
		values[name] = value
	}
	return values, nil
}

// gateways are where to deploy. Close them when it is done.
func (a *app) gateways(d *deployment) (gateways []rollout.Gateway, closeAll func(), err error) {
	var clients []*faasd.Client
	closeAll = func() {
		for _, c := range clients {
			c.Close()
		}
	}
	user, passwordFile := d.user, d.passwordFile
	if len(d.gateways) == 0 {
		conf, err := a.configuration()
		if err != nil {
			return nil, nil, fmt.Errorf("no gateway to use: the configuration cannot be read: %w", withSudo(err))
		}
		d.gateways = []string{conf.Gateway}
		user, passwordFile = cmp.Or(user, conf.GatewayUser), cmp.Or(passwordFile, conf.GatewayPasswordFile)
	}
	if len(d.gateways) > maxGateways {
		return nil, nil, cli.Usage(fmt.Errorf("--gateway: %d gateways, the most are %d", len(d.gateways), maxGateways))
	}
	missing := slices.Clone(d.to)
	for _, text := range d.gateways {
		name, url := text, text
		if before, after, found := strings.Cut(text, "="); found && !strings.ContainsAny(before, "/:") {
			name, url = before, after
		}
		missing = slices.DeleteFunc(missing, func(to string) bool { return to == name })
		if len(d.to) > 0 && !slices.Contains(d.to, name) {
			continue
		}
		client, err := faasd.New(faasd.Options{URL: url, User: user, PasswordFile: passwordFile})
		if err != nil {
			closeAll()
			text = text[strings.LastIndex(text, "@")+1:] // a password may come before that
			return nil, nil, cli.Usage(fmt.Errorf("gateway %q: %w", clip.Text(text), err))
		}
		clients = append(clients, client)
		gateways = append(gateways, rollout.Gateway{Name: name, API: client})
	}
	if len(missing) > 0 {
		closeAll()
		return nil, nil, cli.Usage(fmt.Errorf("--to %s: no gateway is called that; name them as --gateway NAME=URL", strings.Join(missing, ",")))
	}
	return gateways, closeAll, nil
}

// complain returns what says which tries have failed. What goes on is said as it happens.
func (d *deployment) complain(w io.Writer) func(rollout.Result) {
	var one sync.Mutex
	return func(r rollout.Result) {
		one.Lock()
		defer one.Unlock()
		fmt.Fprintf(w, "%s: %s (try %d of %d, next in %v)\n", clean(r.Node), clean(r.Error), r.Tries, d.patience.Tries, d.patience.Every)
	}
}

func resultTable(results []rollout.Result) table {
	t := table{{"NODE", "FUNCTION", "RESULT", "TRIES", "ERROR"}}
	for _, r := range results {
		t.add(r.Node, r.Function, r.Result, strconv.Itoa(r.Tries), r.Error)
	}
	return t
}

func countFailed(results []rollout.Result) (n int) {
	for _, r := range results {
		if r.Result == rollout.Failed {
			n++
		}
	}
	return n
}
