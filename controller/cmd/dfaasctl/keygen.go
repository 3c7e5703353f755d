package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/controller/identity"
	"github.com/dfaas/dfaas/internal/cli"
)

const defaultFederationKey = "/etc/dfaas/federation.key"

// generated is the output of keygen.
type generated struct {
	FederationKey string `json:"federation_key"` // the file's path, never the key
}

func (a *app) keygenCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "keygen [FILE]",
		Short: "Make a federation key, which all members must have",
		Long: `Make a federation key, which all members must have: whoever lacks it cannot connect to any of them.

Without FILE it is federation_key of the controller's configuration, or ` + defaultFederationKey + ` if that names none. It
gets mode 0600; an existing file is never overwritten. Copy it to the other nodes by a safe way and name it as
federation_key in every controller's configuration.`,
		Example: `  sudo dfaasctl keygen
  dfaasctl keygen ./federation.key`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := a.keyFile(args, c.Flags().Changed(flagConfig))
			if err != nil {
				return err
			}
			if err := identity.CreateFederationKey(path); err != nil {
				return withSudo(err)
			}
			if err := handOver(path); err != nil {
				return err
			}
			if a.format == formatJSON {
				return printJSON(a.Out, generated{path})
			}
			_, err = fmt.Fprintf(a.Out, "wrote %s: copy it to the other nodes, and name it as federation_key\n", path)
			return err
		},
	}
}

// keyFile is where the key goes.
func (a *app) keyFile(args []string, named bool) (string, error) {
	if len(args) == 1 && named {
		return "", cli.Usage(errors.New("--config has no effect with FILE: leave it out"))
	}
	if len(args) == 1 {
		return args[0], nil
	}
	c, err := a.configuration()
	if err != nil {
		return "", fmt.Errorf("no file to write: the configuration cannot be read: %w", withSudo(err))
	}
	return cmp.Or(c.FederationKey, defaultFederationKey), nil
}

// handOver gives a secret that root made to the owner of its directory:
// otherwise "sudo dfaasctl keygen" makes a file that the controller, which is
// not root, cannot read.
func handOver(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("handing %s over to its directory's owner: %w", path, err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid == 0 {
		return nil
	}
	return giveTo(path, int(owner.Uid), int(owner.Gid))
}

// giveTo changes the owner through a descriptor, follows no symbolic link, and refuses
// what has another name as well: the owner of the directory must not be able to have
// another file given to them.
func giveTo(path string, uid, gid int) error {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err == nil {
		err = errors.Join(chownOnly(file, uid, gid), file.Close())
	}
	if err != nil {
		return fmt.Errorf("handing %s over to its directory's owner: %w", path, err)
	}
	return nil
}

func chownOnly(file *os.File, uid, gid int) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if is, ok := info.Sys().(*syscall.Stat_t); !info.Mode().IsRegular() || !ok || is.Nlink != 1 {
		return errors.New("it is no regular file with one name only")
	}
	return file.Chown(uid, gid)
}
