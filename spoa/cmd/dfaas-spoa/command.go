package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// envPrefix and a flag's name in capitals, with _ for -, name the variable that
// a flag's value is taken from when it is not on the command line.
const envPrefix = "DFAAS_SPOA_"

// Options are what the command line says.
type Options struct {
	Listen      string // path of the SPOP socket
	Control     string // path of the control socket
	Metrics     string // HOST:PORT for /metrics, "" for none
	SocketMode  os.FileMode
	SocketGroup string // of the SPOP socket, "" for the process's own
	Version     string
	Log         zerolog.Logger
}

// flags are Options as they are written.
type flags struct {
	listen, control, metrics, socketMode, socketGroup, logLevel, logFormat string
}

// runError is an error of the running program, as opposed to one of its usage.
type runError struct{ error }

func (e *runError) Unwrap() error { return e.error }

func newCommand(version string) *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "dfaas-spoa",
		Short: "Answers HAProxy's questions where function calls are to go",
		Long: `dfaas-spoa listens on a unix socket for HAProxy's SPOE and answers, for each
function call, whether to serve it here, send it to a peer or refuse it. What it
answers is told by dfaas-controller over the control socket. Until then, and
whenever the controller is silent for too long, everything is served here.

Every flag can also be set by the environment: --log-level by DFAAS_SPOA_LOG_LEVEL.`,
		Example: `  dfaas-spoa
  dfaas-spoa --listen /run/dfaas/spoa.sock --socket-group haproxy --metrics 127.0.0.1:9101`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return fromEnvironment(cmd.Flags(), os.LookupEnv)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := f.options(version)
			if err != nil {
				return err
			}
			if err := Run(cmd.Context(), o); err != nil {
				return &runError{err}
			}
			return nil
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.listen, "listen", "/var/lib/haproxy/dfaas/spoa.sock",
		"unix socket for HAProxy (PATH or unix@PATH, as seen outside its chroot)")
	fs.StringVar(&f.control, "control", "/run/dfaas/spoa-control.sock", "unix socket for dfaas-controller")
	fs.StringVar(&f.metrics, "metrics", "", "also serve /metrics on this HOST:PORT (it is always on the control socket)")
	fs.StringVar(&f.socketMode, "socket-mode", "0660", "permissions of the HAProxy socket, octal")
	fs.StringVar(&f.socketGroup, "socket-group", "", "group of the HAProxy socket, name or number (default: this process's)")
	fs.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	fs.StringVar(&f.logFormat, "log-format", "json", "json or console")
	cmd.AddCommand(&cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run:   func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), version) },
	})
	return cmd
}

// fromEnvironment sets the flags that are not on the command line.
func fromEnvironment(fs *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var failed error
	fs.VisitAll(func(f *pflag.Flag) {
		name := envPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, found := lookup(name)
		if f.Changed || !found || failed != nil {
			return
		}
		if err := fs.Set(f.Name, value); err != nil {
			failed = fmt.Errorf("%s=%q: %w", name, value, err)
		}
	})
	return failed
}

// options checks the flags and turns them into Options.
func (f *flags) options(version string) (Options, error) {
	o := Options{
		Listen:      strings.TrimPrefix(f.listen, "unix@"),
		Control:     strings.TrimPrefix(f.control, "unix@"),
		Metrics:     f.metrics,
		SocketGroup: f.socketGroup,
		Version:     version,
	}
	mode, err := strconv.ParseUint(f.socketMode, 8, 32)
	if err != nil || mode > 0o777 {
		return o, fmt.Errorf("--socket-mode %q: want octal permissions such as 0660", f.socketMode)
	}
	o.SocketMode = os.FileMode(mode)
	level, err := zerolog.ParseLevel(f.logLevel)
	if err != nil || f.logLevel == "" {
		return o, fmt.Errorf("--log-level %q: want debug, info, warn or error", f.logLevel)
	}
	switch f.logFormat {
	case "json":
		o.Log = zerolog.New(os.Stderr)
	case "console":
		o.Log = zerolog.New(zerolog.ConsoleWriter{Out: os.Stderr})
	default:
		return o, fmt.Errorf("--log-format %q: want json or console", f.logFormat)
	}
	o.Log = o.Log.Level(level).With().Timestamp().Logger()
	return o, nil
}
