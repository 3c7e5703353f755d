package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/dfaas/dfaas/controller/api"
	"github.com/dfaas/dfaas/controller/config"
	"github.com/dfaas/dfaas/controller/identity"
	"github.com/dfaas/dfaas/internal/cli"
)

func newCommand(system cli.System) *cobra.Command {
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
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			conf, err := load(c, system.Environ)
			if err != nil {
				return cli.Usage(err)
			}
			for _, warning := range config.Misspelt(system.Environ) {
				fmt.Fprintln(system.Err, "Warning:", warning)
			}
			if check {
				for _, warning := range conf.Warnings() {
					fmt.Fprintln(system.Err, "Warning:", warning)
				}
				_, err := fmt.Fprintln(system.Out, "the configuration is valid")
				return err
			}
			return Run(c.Context(), conf, cli.NewLogger(system.Err, conf.LogLevel, conf.LogFormat))
		},
	}
	config.AddFlags(root.PersistentFlags())
	root.Flags().BoolVar(&check, "check", false, "check the configuration and the files that it names, and exit")
	root.AddCommand(configCommand(system), healthCommand(system))
	cli.AddVersion(root, cli.Version(version))
	return root
}

// load returns the configuration, checked together with the files it names.
func load(c *cobra.Command, environ []string) (config.Settings, error) {
	conf, err := config.Load(c.Flags(), environ)
	if err != nil {
		return conf, fmt.Errorf("the configuration is not valid:\n%w", err)
	}
	return conf, checkFiles(conf)
}

// checkFiles reads the files that the configuration names and creates none.
func checkFiles(conf config.Settings) error {
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

// healthCommand is for who has nothing but this program, as its container.
func healthCommand(system cli.System) *cobra.Command {
	return &cobra.Command{
		Use:     "health",
		Short:   "Ask the running dfaas-controller over its admin socket whether it is well",
		Long:    "Ask the running dfaas-controller over its admin socket whether it is well.\n\nExit codes: 0 it answers, 1 it does not, 2 called the wrong way.",
		Example: `  DFAAS_ADMIN_SOCKET=/run/dfaas/admin.sock dfaas-controller health`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			conf, err := config.Load(c.Flags(), system.Environ)
			if err != nil {
				return cli.Usage(fmt.Errorf("the configuration is not valid:\n%w", err))
			}
			status, err := api.NewClient(conf.AdminSocket).Status(c.Context())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(system.Out, "dfaas-controller %s answers; %d peers alive\n", status.Version, status.Peers)
			return err
		},
	}
}

func configCommand(system cli.System) *cobra.Command {
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
				_, err := fmt.Fprint(system.Out, config.Docs())
				return err
			}
			conf, err := load(c, system.Environ)
			if err != nil {
				return cli.Usage(err)
			}
			if err := yaml.NewEncoder(system.Out).Encode(conf.Config); err != nil {
				return fmt.Errorf("printing the configuration: %w", err)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&docs, "docs", false, "print a table of all options instead")
	return c
}
