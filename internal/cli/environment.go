package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/dfaas/dfaas/internal/spelling"
)

// annotation is where a flag keeps the name of its variable.
const annotation = "dfaas-environment"

// Getenv returns the variable's value. One that is empty counts as not set.
func (s System) Getenv(name string) string {
	value := ""
	for _, line := range s.Environ {
		if v, ok := strings.CutPrefix(line, name+"="); ok {
			value = v
		}
	}
	return value
}

// FromVariables makes all flags that there are take their values from variables
// when they are not on the command line. A variable's name is the prefix and the
// flag's: --log-level has PREFIX_LOG_LEVEL. The program's help text says so, once
// for all.
func FromVariables(flags *pflag.FlagSet, prefix string) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Annotations == nil {
			f.Annotations = make(map[string][]string)
		}
		f.Annotations[annotation] = []string{prefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))}
	})
}

// misspelt says which variables look like those of these flags and are none of them.
func misspelt(flags *pflag.FlagSet, system System) []string {
	var names []string
	prefix := ""
	flags.VisitAll(func(f *pflag.Flag) {
		for _, name := range f.Annotations[annotation] {
			names, prefix = append(names, name), name[:len(name)-len(f.Name)]
		}
	})
	return spelling.Unread(system.Environ, prefix, names, nil)
}

// fromEnvironment sets the flags that are not on the command line.
func fromEnvironment(flags *pflag.FlagSet, system System) error {
	var failed error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || failed != nil {
			return
		}
		for _, name := range f.Annotations[annotation] {
			value := system.Getenv(name)
			if value == "" {
				continue
			}
			if err := flags.Set(f.Name, value); err != nil {
				failed = fmt.Errorf("%s=%q: %w", name, value, err)
			}
		}
	})
	return failed
}
