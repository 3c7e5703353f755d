package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/controller/cmd/dfaasctl/doctor"
	"github.com/dfaas/dfaas/controller/cmd/dfaasctl/service"
)

const haproxyProgram = "haproxy"

func (a *app) checkHAProxyCommand() *cobra.Command {
	var file, program string
	c := &cobra.Command{
		Use:   "check-haproxy",
		Short: "Check whether HAProxy would start, before it is restarted",
		Long: `Check whether HAProxy would start with the files and settings of its service, before it is restarted. Nothing is
changed.

It runs "haproxy -c" as the service does, and looks at what that does not: whether HAProxy is new enough, and all files
are there; whether each DFAAS_ name in the settings is one that is read; whether the addresses that the drop-in opens are
free or HAProxy's already, and otherwise who has them; whether dfaas-spoa is where HAProxy would look for it, and
DFAAS_GATEWAY can be looked up. Variables that begin with DFAAS_ count before those of the file, so a new value can be tried before it is written.

Run it as root, to be told who listens. The exit code is 1 if HAProxy would not start.`,
		Example: `  sudo dfaasctl check-haproxy && sudo systemctl restart haproxy
  sudo DFAAS_BIND=:8181 dfaasctl check-haproxy
  sudo dfaasctl check-haproxy -o json | jq '.[] | select(.level == "FAIL")'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := service.Load(file, a.Environ)
			if err != nil {
				return withSudo(err)
			}
			config, err := a.lenient()
			if err != nil {
				return err
			}
			results := doctor.ExamineStart(c.Context(), doctor.Start{
				Settings: settings, RuntimeSocket: config.HAProxySocket, Program: program,
			})
			if err := a.printResults(results); err != nil {
				return err
			}
			if n := doctor.Failures(results); n > 0 {
				return fmt.Errorf("%d of %d checks failed: do not restart HAProxy yet", n, len(results))
			}
			return nil
		},
	}
	c.Flags().StringVar(&file, "settings", service.DefaultFile, "environment file of HAProxy's service")
	c.Flags().StringVar(&program, "haproxy", haproxyProgram, "the program")
	return c
}
