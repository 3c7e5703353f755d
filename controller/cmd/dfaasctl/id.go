package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/controller/config"
	"github.com/dfaas/dfaas/controller/identity"
)

// nodeIdentity is the output of id.
type nodeIdentity struct {
	NodeID string `json:"node_id"`
	File   string `json:"identity"`
}

func (a *app) idCommand() *cobra.Command {
	var path string
	var create bool
	c := &cobra.Command{
		Use:   "id",
		Short: "Print this node's peer id, also while nothing runs",
		Long: `Print this node's peer id. It is read from the identity file, so nothing needs to run; usually only the
controller's user and root may read that file.

The file is named by --identity, DFAAS_IDENTITY or the controller's configuration. The controller makes it at its first
start. With --create this command does, so that the id is known before.`,
		Example: `  sudo dfaasctl id
  dfaasctl id --config ./controller.yaml
  id=$(sudo dfaasctl id --create) && echo DFAAS_NODE_ID=$id | sudo tee -a /etc/default/haproxy`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if path == "" {
				c, err := a.configuration()
				if err != nil {
					return fmt.Errorf("no identity file to read: the configuration cannot be read: %w", withSudo(err))
				}
				path = c.Identity
			}
			id, err := loadIdentity(path, create)
			if err != nil {
				return err
			}
			if a.format == formatJSON {
				return printJSON(a.Out, nodeIdentity{NodeID: id.String(), File: path})
			}
			_, err = fmt.Fprintln(a.Out, id)
			return err
		},
	}
	c.Flags().StringVar(&path, "identity", "", "identity file (env DFAAS_IDENTITY; default: identity of the controller's configuration,\n"+
		config.Default().Identity+")")
	c.Flags().BoolVar(&create, "create", false, "make the file if there is none")
	return c
}

func loadIdentity(path string, create bool) (*identity.Identity, error) {
	id, err := identity.Load(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, withSudo(err)
	}
	if !create {
		return nil, fmt.Errorf("no identity at %s yet: dfaas-controller makes it at its first start, --create does so now; "+
			"--identity names another file", path)
	}
	if id, err = identity.LoadOrCreate(path); err != nil {
		return nil, withSudo(err)
	}
	return id, handOver(path)
}

// withSudo adds the hint for a file that only others may use.
func withSudo(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: use sudo", err)
	}
	return err
}
