package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/openfaas/faas-provider/types"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/faasd/functions"
	"github.com/dfaas/dfaas/faasd/provider"
	"github.com/dfaas/dfaas/internal/cli"
	"github.com/dfaas/dfaas/internal/notify"
)

const examples = `  # Functions of the catalogue, on 127.0.0.1:8080, kept in ./state:
  dfaas-provider --state-dir ./state

  # Deploy one and call it:
  curl -X POST http://127.0.0.1:8080/system/functions -d '{"service":"figlet","image":"ghcr.io/openfaas/figlet:latest"}'
  curl http://127.0.0.1:8080/function/figlet -d hello

  # Any local command as a function, and a REST API that asks for credentials:
  dfaas-provider --allow-processes --basic-auth-dir /etc/dfaas/provider-auth

  # A second provider on the same machine:
  dfaas-provider --listen 127.0.0.1:8090 --state-dir /var/lib/dfaas-provider-2`

func newCommand(system cli.System) *cobra.Command {
	o := provider.DefaultOptions()
	o.Version = types.VersionInfo{Release: cli.Version(version), SHA: commit(cli.Version(version))}
	var log cli.LogFlags
	root := &cobra.Command{
		Use:   "dfaas-provider",
		Short: "Run OpenFaaS functions as local processes",
		Long: `dfaas-provider speaks the REST API of OpenFaaS and runs functions as processes of this machine.
It runs the commands of its catalogue (see dfaas-provider catalogue); with --allow-processes, any.

Every flag can be set by a variable: --state-dir by DFAAS_PROVIDER_STATE_DIR.`,
		Example: examples,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := log.Logger(system.Err)
			if err != nil {
				return err
			}
			if err := o.Check(); err != nil {
				return cli.Usage(err)
			}
			return run(cmd.Context(), o, logger)
		},
	}
	flags := root.Flags()
	flags.StringVar(&o.Listen, "listen", o.Listen, "address to serve on, HOST:PORT; port 0: any free one")
	flags.StringVar(&o.StateDir, "state-dir", o.StateDir, "directory for functions and secrets, owned by this provider alone")
	flags.StringVar(&o.BasicAuthDir, "basic-auth-dir", "",
		"directory with the files basic-auth-user and basic-auth-password that guard the REST API")
	flags.BoolVar(&o.Insecure, "insecure", false, "allow to listen beyond loopback without --basic-auth-dir")
	flags.BoolVar(&o.AllowProcesses, "allow-processes", false,
		"let deployments name any command and set any variable: whoever may deploy may run anything")
	flags.BoolVar(&o.NoConfinement, "no-confinement", false,
		"let functions read each other's secrets, the state directory and --basic-auth-dir")
	flags.StringVar(&o.FunctionUsers, "function-users", "",
		"FIRST-LAST: user ids that nobody else has, of which each function gets one of its own (as root, or with CAP_SETUID and others)")
	flags.DurationVar(&o.ExecTimeout, "exec-timeout", o.ExecTimeout, "time limit of a call, for functions without exec_timeout")
	flags.Int64Var(&o.MaxInflight, "max-inflight", o.MaxInflight, "calls at once, for functions without max_inflight")
	flags.Int64Var(&o.MaxBody, "max-body", o.MaxBody, "largest request body of a call, bytes")
	flags.IntVar(&o.MaxUploads, "max-uploads", o.MaxUploads,
		"request bodies at once that are read before their process starts; one that comes too slowly gives way")
	flags.Int64Var(&o.MaxOutput, "max-output", o.MaxOutput, "largest response body of a call, bytes")
	flags.IntVar(&o.QueueCalls, "queue-calls", o.QueueCalls, "asynchronous calls that may wait; 0: none are taken")
	flags.Int64Var(&o.QueueBytes, "queue-bytes", o.QueueBytes, "what they may take of the disk, bytes")
	flags.IntVar(&o.QueueWorkers, "queue-workers", o.QueueWorkers, "asynchronous calls that are executed at once")
	flags.StringSliceVar(&o.CallbackAllow, "callback-allow", nil,
		"addresses and networks, besides public ones, that results may be sent to (X-Callback-Url), such as 10.1.0.0/16")
	log.Add(flags)
	cli.FromVariables(flags, "DFAAS_PROVIDER_")
	root.AddCommand(catalogueCommand(), echoCommand())
	cli.AddVersion(root, cli.Version(version))
	return root
}

// commit is the commit that the program was built from. Where the build
// information has none, as in one built from an archive, the version says as much
// as there is to say.
func commit(version string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" && setting.Value != "" {
				return setting.Value
			}
		}
	}
	return version
}

// run provides functions until the context ends, and tells systemd.
func run(ctx context.Context, o provider.Options, log zerolog.Logger) error {
	systemd := notify.New(log)
	watched, end := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer end()
	o.OnListen = func(address net.Addr) {
		systemd.Ready()
		watch.Go(func() {
			systemd.Watch(watched, func(ctx context.Context) error { return probe(ctx, address) })
		})
	}
	defer systemd.StopsWith(ctx)()
	return provider.Run(ctx, o, log)
}

// probe asks the provider over the network, as its callers do.
func probe(ctx context.Context, address net.Addr) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address.String()+"/healthz", nil)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("probe: %s", response.Status)
	}
	return nil
}

func catalogueCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "catalogue",
		Short: "List the functions that run without --allow-processes",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			catalogue, err := functions.Load()
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(table, "NAME\tIMAGES\tCOMMAND\tPACKAGE\tABOUT")
			for _, e := range catalogue.Entries() {
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", e.Name, strings.Join(e.Images, ","), e.Command, e.Package, e.About)
			}
			return table.Flush()
		},
	}
}

// echoCommand is the process of the catalogue's http-echo.
func echoCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "echo",
		Short:  "Serve the function http-echo at $PORT",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			port := os.Getenv("PORT")
			if port == "" {
				return errors.New("PORT is not set: deploy the image http-echo instead of calling this by hand")
			}
			return functions.Echo(cmd.Context(), port)
		},
	}
}
