package main

import (
	"github.com/spf13/cobra"
)

// versions is the output of version.
type versions struct {
	Client     string `json:"dfaasctl"`
	Controller string `json:"controller,omitempty"`
	// ControllerError says why Controller is missing.
	ControllerError string `json:"controller_error,omitempty"`
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the versions of dfaasctl and of the running dfaas-controller",
		Example: `  dfaasctl version -o json`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			v := versions{Client: a.Version}
			client, err := a.client()
			if err != nil {
				return err
			}
			status, err := client.Status(c.Context())
			if err != nil {
				v.ControllerError = err.Error()
			}
			v.Controller = status.Version
			return a.print(v, func() table {
				t := table{{"dfaasctl", v.Client}}
				if err != nil {
					t.add("dfaas-controller", "unknown: "+v.ControllerError)
				} else {
					t.add("dfaas-controller", v.Controller)
				}
				return t
			})
		},
	}
}
