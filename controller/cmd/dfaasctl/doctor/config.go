package doctor

import (
	"errors"
	"io/fs"
	"strings"
)

func configChecks() []check {
	return []check{{"configuration", judgeConfig}}
}

func judgeConfig(f *Facts) Verdict {
	const hint = "correct it, or name another with --config; docs/configuration.md describes every key"
	block, shut := denied(f.ConfigAccess)
	switch {
	case f.Named && errors.Is(f.ConfigError, fs.ErrNotExist):
		return fail("name the controller's configuration with --config (or DFAAS_CONFIG), or leave that out: then it is that of the running controller",
			"%s", strings.TrimSpace(oneLine(f.ConfigError)))
	case errors.Is(f.ConfigError, fs.ErrPermission):
		return warn("run dfaasctl doctor as root", "not checked: %s", strings.TrimSpace(oneLine(f.ConfigError)))
	case f.ConfigError != nil && f.Controller.err == nil && f.Running.Args == nil && !f.Named:
		// It got its settings in a way that this user may not see, as flags for instance.
		return warn("run dfaasctl doctor as root, or name the controller's configuration with --config",
			"dfaas-controller runs with other settings than are seen here: %s", oneLine(f.ConfigError))
	case f.ConfigError != nil && f.Controller.err == nil:
		return fail(hint, "the running controller would not start again: %s", strings.TrimSpace(oneLine(f.ConfigError)))
	case f.ConfigError != nil:
		return fail(hint, "%s", strings.TrimSpace(oneLine(f.ConfigError)))
	case shut:
		return fail(block.hint(), "%s: %s", f.noStart(), block)
	case f.ConfigFile == "":
		return ok("valid, without a file")
	default:
		return ok("%s is valid", f.ConfigFile)
	}
}
