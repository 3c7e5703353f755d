package doctor

import "strings"

func configChecks() []check {
	return []check{{"configuration", judgeConfig}}
}

func judgeConfig(f *Facts) Verdict {
	const mend = "name the controller's configuration with --config, or mend it; docs/configuration.md describes every key"
	switch {
	case f.ConfigError == nil:
		return ok("valid")
	case f.Controller.err == nil:
		// It got its settings in another way, as flags for instance.
		return warn(mend, "dfaas-controller runs with other settings than are seen here: %s", oneLine(f.ConfigError))
	default:
		return fail(mend, "%s", strings.TrimSpace(oneLine(f.ConfigError)))
	}
}
