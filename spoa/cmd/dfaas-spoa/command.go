package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/internal/cli"
	"github.com/dfaas/dfaas/internal/unixsock"
)

// Options are what the command line says.
type Options struct {
	Listen      unixsock.Path // the SPOP socket
	Control     unixsock.Path // the control socket
	Metrics     string        // HOST:PORT for /metrics, "" for none
	SocketMode  os.FileMode
	SocketGroup string // of the SPOP socket, "" for the process's own
	Version     string
	Log         zerolog.Logger
}

// flags are Options as they are written.
type flags struct {
	listen, control, metrics, socketMode, socketGroup string
	log                                               cli.LogFlags
}

func newCommand(system cli.System) *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "dfaas-spoa",
		Short: "Tell HAProxy where each function call goes",
		Long: `dfaas-spoa is the SPOE agent of a DFaaS node. HAProxy asks it, over a unix socket, where
each function call goes: to the local gateway, to a peer, or nowhere. It answers from a
table that dfaas-controller keeps current. Without a table, or with one that is too old,
everything is served locally.

Every flag can be set by a variable: --log-level by DFAAS_SPOA_LOG_LEVEL.`,
		Example: `  dfaas-spoa
  dfaas-spoa --listen /run/dfaas/spoa.sock --socket-group haproxy --metrics 127.0.0.1:9101`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := f.options(system)
			if err != nil {
				return cli.Usage(err)
			}
			return Run(cmd.Context(), o)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.listen, "listen", "/var/lib/haproxy/dfaas/spoa.sock",
		"unix socket for HAProxy: its path outside HAProxy's chroot")
	fs.StringVar(&f.control, "control", "/run/dfaas/spoa-control.sock", "unix socket for dfaas-controller")
	fs.StringVar(&f.metrics, "metrics", "", "serve /metrics on this HOST:PORT, too (the control socket always has it)")
	fs.StringVar(&f.socketMode, "socket-mode", "0660", "permissions of HAProxy's socket, octal")
	fs.StringVar(&f.socketGroup, "socket-group", "", "group of HAProxy's socket, name or number (default: the process's own)")
	f.log.Add(fs)
	cli.FromVariables(fs, "DFAAS_SPOA_")
	cli.AddVersion(cmd, cli.Version(version))
	return cmd
}

// options checks the flags and turns them into Options.
func (f *flags) options(system cli.System) (Options, error) {
	o := Options{Metrics: f.metrics, SocketGroup: f.socketGroup, Version: cli.Version(version)}
	var err error
	if o.Listen, err = unixsock.ParseSetting("--listen", strings.TrimPrefix(f.listen, "unix@")); err != nil {
		return o, err
	}
	if o.Control, err = unixsock.ParseSetting("--control", strings.TrimPrefix(f.control, "unix@")); err != nil {
		return o, err
	}
	mode, err := strconv.ParseUint(f.socketMode, 8, 32)
	if err != nil || mode > 0o777 {
		return o, fmt.Errorf("--socket-mode %q: use octal permissions such as 0660", f.socketMode)
	}
	o.SocketMode = os.FileMode(mode)
	o.Log, err = f.log.Logger(system.Err)
	return o, err
}
