package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/dfaas/dfaas/controller/api"
	"github.com/dfaas/dfaas/controller/cmd/dfaasctl/doctor"
	"github.com/dfaas/dfaas/controller/cmd/dfaasctl/service"
	"github.com/dfaas/dfaas/controller/config"
)

// configFlags are the controller's flags, those set that name what this program
// was told.
func (a *app) configFlags() *pflag.FlagSet {
	flags := pflag.NewFlagSet("dfaasctl", pflag.ContinueOnError)
	config.AddFlags(flags)
	// These flags exist and take any text, so setting them cannot fail.
	if a.configFile != "" {
		_ = flags.Set("config", a.configFile)
	}
	if a.socket != "" {
		_ = flags.Set("admin-socket", a.socket)
	}
	return flags
}

// configuration is the controller's, read as the controller does. Whether one
// could run with it is not asked.
func (a *app) configuration() (config.Config, error) {
	return config.Read(a.configFlags(), a.Environ)
}

// named reports whether somebody said which configuration to read: then it must
// be there.
func (a *app) named() bool { return a.configFile != "" || a.Getenv(envConfig) != "" }

// lenient is configuration for commands that can do without: from the file that
// nobody named it takes what it can read.
func (a *app) lenient() (config.Config, error) {
	c, err := a.configuration()
	if err != nil && a.named() {
		return c, withSudo(err)
	}
	return c, nil
}

// client asks the controller at --socket, or where its configuration says.
func (a *app) client() (*api.Client, error) {
	c, err := a.lenient()
	if err != nil {
		return nil, err
	}
	socket, err := api.ParseSocket(c.AdminSocket)
	if err != nil {
		return nil, err
	}
	return api.NewClient(socket), nil
}

// settings is what doctor goes by: the configuration that was named, else that of
// the controller which runs, else the one it would start with.
func (a *app) settings() doctor.Settings {
	flags := a.configFlags()
	loaded, err := config.Load(flags, a.Environ)
	c := loaded.Config
	path, _ := config.File(flags, a.Environ) // its failure is the first of Load, too
	s := doctor.Settings{Config: c, ConfigError: err, ConfigFile: path, Named: a.named()}
	at, err := api.ParseSocket(c.AdminSocket)
	if err != nil {
		return s
	}
	if s.Running, err = doctor.FindRunning(at); err != nil || s.Named {
		return s
	}
	flags, err = runningFlags(s.Running)
	if err != nil {
		return s
	}
	socket := c.AdminSocket
	loaded, s.ConfigError = config.Load(flags, s.Running.Environ)
	s.Config = loaded.Config
	s.ConfigFile, _ = config.File(flags, s.Running.Environ)
	for _, path := range []*string{
		&s.Config.Identity, &s.Config.FederationKey, &s.Config.HAProxySocket, &s.Config.SPOASocket, &s.Config.GatewayPasswordFile, &s.Config.TLSDir,
	} {
		*path = beside(s.Running.Dir, *path)
	}
	s.Config.AdminSocket = socket // as it was found
	return s
}

// nextStart is how Debian's service would start HAProxy; nil if that is not the
// one that the configuration is for, or this user may not read all of its files.
func (a *app) nextStart(c config.Config) *doctor.Start {
	if os.Geteuid() != 0 || c.HAProxySocket != config.Default().HAProxySocket {
		return nil
	}
	if _, err := os.Stat(service.DefaultFile); err != nil {
		return nil
	}
	settings, err := service.Load(service.DefaultFile, nil)
	if err != nil {
		return nil
	}
	return &doctor.Start{Settings: settings, RuntimeSocket: c.HAProxySocket, Program: haproxyProgram}
}

// runningFlags are the flags that a running controller was given.
func runningFlags(r doctor.Running) (*pflag.FlagSet, error) {
	flags := pflag.NewFlagSet("dfaas-controller", pflag.ContinueOnError)
	config.AddFlags(flags)
	if err := flags.Parse(r.Args); err != nil {
		return nil, fmt.Errorf("reading the flags of process %d: %w", r.PID, err)
	}
	for _, entry := range r.Environ {
		if path, ok := strings.CutPrefix(entry, envConfig+"="); ok && path != "" && !flags.Changed("config") {
			_ = flags.Set("config", path)
		}
	}
	if path, err := flags.GetString("config"); err == nil && path != "" {
		_ = flags.Set("config", beside(r.Dir, path))
	}
	return flags, nil
}

// beside is a path as a process sees it that works in dir.
func beside(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
