package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/dfaas/dfaas/controller/config"
	"github.com/dfaas/dfaas/controller/identity"
)

// failure is an error that is not the command line's or the configuration's.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// newCommand builds the command line.
func newCommand(environ []string, stdout, stderr io.Writer) *cobra.Command {
	var check bool
	root := &cobra.Command{
		Use:   "dfaas-controller",
		Short: "Plan and announce what this DFaaS node serves, forwards and admits",
		Long: `Plan and announce what this DFaaS node serves, forwards and admits.

It runs until it gets SIGTERM or SIGINT. Every option can be given as a flag, as a
variable (DFAAS_HTTP_ADDRESS for --http-address) or in a YAML file (http_address);
a flag counts before a variable, a variable before the file. What the options mean
in full, as a table: dfaas-controller config --docs`,
		Example: `  dfaas-controller --config /etc/dfaas/controller.yaml
  runuser -u dfaas -- dfaas-controller --check
  dfaas-controller --http-address 192.0.2.10:8180 --federation-key /etc/dfaas/federation.key
  DFAAS_LOG_LEVEL=debug dfaas-controller --log-format console`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error {
			conf, err := load(c, environ)
			if err != nil {
				return err
			}
			if check {
				fmt.Fprintln(stdout, "the configuration is valid")
				return nil
			}
			if err := Run(c.Context(), conf, newLogger(conf, stderr)); err != nil {
				return failure{err}
			}
			return nil
		},
	}
	config.AddFlags(root.PersistentFlags())
	root.Flags().BoolVar(&check, "check", false, "check the configuration and the files that it names, and exit")
	root.AddCommand(configCommand(environ, stdout), versionCommand(stdout))
	return root
}

// load returns the configuration, checked together with the files it names.
func load(c *cobra.Command, environ []string) (config.Config, error) {
	conf, err := config.Load(c.Flags(), environ)
	if err != nil {
		return conf, fmt.Errorf("the configuration is not valid:\n%w", err)
	}
	return conf, checkFiles(conf)
}

// checkFiles reads the files that the configuration names and creates none.
func checkFiles(conf config.Config) error {
	var faults []error
	if _, err := identity.Load(conf.Identity); err != nil && !errors.Is(err, fs.ErrNotExist) {
		faults = append(faults, fmt.Errorf("identity: %w", err))
	}
	if _, err := federationKey(conf); err != nil {
		faults = append(faults, fmt.Errorf("federation_key: %w", err))
	}
	if _, err := newGateway(conf); err != nil {
		faults = append(faults, fmt.Errorf("gateway: %w", err))
	}
	return errors.Join(faults...)
}

func configCommand(environ []string, stdout io.Writer) *cobra.Command {
	var docs bool
	c := &cobra.Command{
		Use:   "config",
		Short: "Print the configuration as it results from flags, environment, file and defaults",
		Example: `  dfaas-controller config
  DFAAS_PERIOD=2s dfaas-controller config --config new.yaml
  dfaas-controller config --docs`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if docs {
				fmt.Fprint(stdout, config.Docs())
				return nil
			}
			conf, err := load(c, environ)
			if err != nil {
				return err
			}
			if err := yaml.NewEncoder(stdout).Encode(conf); err != nil {
				return failure{fmt.Errorf("printing the configuration: %w", err)}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&docs, "docs", false, "print a table of all options instead")
	return c
}

func versionCommand(stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  dfaas-controller version",
		Args:    cobra.NoArgs,
		Run: func(*cobra.Command, []string) {
			fmt.Fprintf(stdout, "dfaas-controller %s (%s %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}
