package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/openfaas/faas-provider/types"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/faasd/functions"
	"github.com/dfaas/dfaas/faasd/provider"
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

// command is the whole command line.
func command(version string) *cobra.Command {
	o := provider.DefaultOptions()
	o.Version = types.VersionInfo{Release: version}
	var level, format string
	root := &cobra.Command{
		Use:   "dfaas-provider",
		Short: "Provide OpenFaaS functions as local processes",
		Long: "dfaas-provider answers the REST API of OpenFaaS and runs functions as processes of this machine.\n" +
			"It runs the commands of its catalogue (see dfaas-provider catalogue), or any with --allow-processes.",
		Example:       examples,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := newLogger(cmd.ErrOrStderr(), level, format)
			if err != nil {
				return err
			}
			return provider.Run(cmd.Context(), o, logger)
		},
	}
	flags := root.Flags()
	flags.StringVar(&o.Listen, "listen", o.Listen, "address to serve on, HOST:PORT; port 0: any free one")
	flags.StringVar(&o.StateDir, "state-dir", o.StateDir, "directory for functions and secrets, owned by this provider alone")
	flags.StringVar(&o.BasicAuthDir, "basic-auth-dir", "",
		"directory with the files basic-auth-user and basic-auth-password that guard the REST API")
	flags.BoolVar(&o.Insecure, "insecure", false, "allow to listen beyond loop-back without --basic-auth-dir")
	flags.BoolVar(&o.AllowProcesses, "allow-processes", false,
		"let deployments name any command and set any variable: whoever may deploy may run anything")
	flags.DurationVar(&o.ExecTimeout, "exec-timeout", o.ExecTimeout, "time of a call, for functions that do not set exec_timeout")
	flags.Int64Var(&o.MaxInflight, "max-inflight", o.MaxInflight, "calls at once, for functions that do not set max_inflight")
	flags.Int64Var(&o.MaxBody, "max-body", o.MaxBody, "largest request body of a call, bytes")
	flags.Int64Var(&o.MaxOutput, "max-output", o.MaxOutput, "largest response body of a call, bytes")
	flags.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&format, "log-format", "json", "json or console")
	root.AddCommand(versionCommand(version), catalogueCommand(), echoCommand())
	return root
}

func newLogger(w io.Writer, level, format string) (zerolog.Logger, error) {
	parsed, err := zerolog.ParseLevel(level)
	if err != nil || level == "" {
		return zerolog.Logger{}, fmt.Errorf("--log-level %q: use debug, info, warn or error", level)
	}
	switch format {
	case "json":
	case "console":
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly, NoColor: !isTerminal(w)}
	default:
		return zerolog.Logger{}, fmt.Errorf("--log-format %q: use json or console", format)
	}
	return zerolog.New(w).Level(parsed).With().Timestamp().Logger(), nil
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func versionCommand(version string) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "dfaas-provider", version)
			return err
		},
	}
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
