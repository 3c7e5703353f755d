package haproxy

import (
	"context"
	"strings"
)

// LevelAdmin is the one that changes need.
const LevelAdmin = "admin"

// Level returns what the runtime socket may be used for: "user", "operator" or
// LevelAdmin.
func (c *Client) Level(ctx context.Context) (string, error) {
	answer, err := c.run(ctx, "show cli level")
	// A notice, with its level before it.
	_, level, _ := strings.Cut(answer, ": ")
	return strings.TrimSpace(level), err
}
