package doctor

import "strings"

func configChecks() []check {
	return []check{{"configuration", judgeConfig}}
}

func judgeConfig(f *Facts) Verdict {
	const hint = "name the controller's configuration with --config, or correct it; docs/configuration.md describes every key"
	switch {
	case f.ConfigError == nil:
		return ok("valid")
	case f.Controller.err == nil:
		// It got its settings in another way, as flags for instance.
		return warn(hint, "dfaas-controller runs with other settings than are seen here: %s", oneLine(f.ConfigError))
	default:
		return fail(hint, "%s", strings.TrimSpace(oneLine(f.ConfigError)))
	}
}
