package haproxy

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// Release returns the version of an HAProxy that need not run, such as
// "2.6.12-1+deb12u4", by what the program (with what has to stand before its arguments)
// says when it is run with -v. Of one that runs, Info has it.
func Release(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, append(args[:len(args):len(args)], "-v")...)
	output, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ask HAProxy for its version: %s: %w", cmd, err)
	}
	// "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - ...", or HA-Proxy.
	_, rest, _ := strings.Cut(string(output), "version ")
	words := strings.Fields(rest)
	if len(words) == 0 {
		return "", fmt.Errorf("%s does not name its version, but says %.80q", cmd, output)
	}
	return words[0], nil
}
