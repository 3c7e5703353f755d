package config

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
)

// AddFlags adds a flag for every option, and --config.
func AddFlags(fs *pflag.FlagSet) {
	fs.String("config", "", "configuration file, YAML (default "+DefaultFile+" if it exists)")
	def := Default()
	for _, o := range options() {
		v := &flagValue{text: o.format(&def), kind: o.kind()}
		f := fs.VarPF(v, o.flag(), "", o.short)
		if v.kind == kindBool {
			f.NoOptDefVal = "true"
		}
	}
}

// flagValue keeps what was written, to be parsed with everything else, so that
// all faults are reported at once. A flag given again replaces the first,
// except for lists, which it extends.
type flagValue struct {
	text, kind string
	given      bool
}

func (v *flagValue) String() string { return v.text }
func (v *flagValue) Type() string   { return v.kind }
func (v *flagValue) Set(s string) error {
	if v.kind == kindList && v.given {
		s = v.text + "," + s
	}
	v.text, v.given = s, true
	return nil
}

// Load puts the configuration together: a flag counts before the environment
// (DFAAS_KEY, in the form of os.Environ; an empty variable counts as not set),
// that before the file, that before the default. The error, if any, names
// every fault found, one a line; of the Settings only the Config, as far as it
// could be read, is then of use.
func Load(fs *pflag.FlagSet, environ []string) (Settings, error) {
	c, err := Read(fs, environ)
	settings, invalid := c.Parse()
	return settings, errors.Join(err, invalid)
}

// Read is Load for programs that need only some of the options: it does not ask
// whether a controller could run with them. The Config holds what could be read,
// the error names what could not.
func Read(fs *pflag.FlagSet, environ []string) (Config, error) {
	c := Default()
	env := variables(environ)
	var faults []error
	path, err := file(fs, env)
	if err == nil && path != "" {
		err = readFile(path, &c)
	}
	faults = append(faults, err)
	for _, o := range options() {
		if value := env[o.env()]; value != "" {
			if err := o.parse(&c, value); err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", o.env(), err))
			}
		}
		if f := fs.Lookup(o.flag()); f != nil && f.Changed {
			if err := o.parse(&c, f.Value.String()); err != nil {
				faults = append(faults, fmt.Errorf("--%s: %w", o.flag(), err))
			}
		}
	}
	return c, errors.Join(faults...)
}

// File returns the path of the configuration file that Load reads, "" for none.
func File(fs *pflag.FlagSet, environ []string) (string, error) { return file(fs, variables(environ)) }

// file says which configuration file to read, "" for none.
func file(fs *pflag.FlagSet, env map[string]string) (string, error) {
	if path, err := fs.GetString("config"); err == nil && path != "" {
		return path, nil
	}
	if path := env[envPrefix+"CONFIG"]; path != "" {
		return path, nil
	}
	switch _, err := os.Stat(DefaultFile); {
	case errors.Is(err, os.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("looking for the configuration: %w", err)
	}
	return DefaultFile, nil
}

// variables returns the DFAAS_ variables of an environment.
func variables(environ []string) map[string]string {
	env := map[string]string{}
	for _, line := range environ {
		if key, value, ok := strings.Cut(line, "="); ok && strings.HasPrefix(key, envPrefix) {
			env[key] = value
		}
	}
	return env
}
