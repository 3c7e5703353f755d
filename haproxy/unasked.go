package haproxy

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/dfaas/dfaas/internal/funcname"
)

// Unasked is what HAProxy has served without asking dfaas-spoa (EnvFastPath).
type Unasked struct {
	On bool // whether it does; without, there is nothing else
	// Run tells one run of HAProxy, which counts from 0, from the next.
	Run string
	// Functions are by name, those of which anything is known.
	Functions map[string]UnaskedFunction
}

// UnaskedFunction is one of Unasked.
type UnaskedFunction struct {
	Count         uint32 // calls, modulo 2^32
	TimeoutMillis uint32 // of its calls that are served so; 0: HAProxy's own
}

// Grant is up to which count of Unasked calls of a function are served without a
// question. HAProxy forgets it after two seconds.
type Grant struct {
	Function string
	// UpTo is a count, modulo 2^32, at most 65,536 more than that of now; 0: none.
	UpTo          uint32
	TimeoutMillis uint32 // of these calls; 0: HAProxy's own
}

// Unasked reads what was served without a question. It takes one connection.
func (c *Client) Unasked(ctx context.Context) (Unasked, error) {
	answer, err := c.run(ctx, "show env "+EnvFastPath, "show info", "show table "+BackendLocal)
	if err != nil && strings.Contains(err.Error(), "Variable not found") {
		return Unasked{}, nil // the drop-in of an older release
	}
	if err != nil {
		return Unasked{}, err
	}
	u, err := parseUnasked(answer)
	if err != nil {
		return Unasked{}, fmt.Errorf("HAProxy at %s, calls served without a question: %w", c.socket, err)
	}
	return u, nil
}

// parseUnasked reads the answers to the commands of Client.Unasked.
func parseUnasked(answer string) (Unasked, error) {
	setting, answer, _ := strings.Cut(answer, "\n")
	if strings.TrimPrefix(setting, EnvFastPath+"=") != FastPathOn {
		return Unasked{}, nil
	}
	u := Unasked{On: true, Functions: make(map[string]UnaskedFunction)}
	at := max(0, strings.Index(answer, tableHead))
	info := answer[:at]
	rows, err := rowsOf(answer[at:])
	if err != nil {
		return Unasked{}, err
	}
	if u.Run = runOf(info); u.Run == "" {
		return Unasked{}, errors.New("`show info` does not tell its process")
	}
	for row := range rows {
		name, f, err := parseUnaskedRow(row)
		if err != nil {
			return Unasked{}, fmt.Errorf("row of a table expected, got %.250q", row)
		}
		if funcname.Valid(name) && f != (UnaskedFunction{}) {
			u.Functions[name] = f
		}
	}
	return u, nil
}

// runOf is made of what tells one process from the next in the answer to `show info`.
func runOf(info string) string {
	var pid, started string
	for line := range strings.Lines(info) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), ": "); key {
		case "Pid":
			pid = value
		case "Start_time_sec":
			started = value
		}
	}
	if pid == "" || len(pid) > 20 || len(started) > 20 {
		return ""
	}
	return pid + "-" + started
}

func parseUnaskedRow(row string) (name string, f UnaskedFunction, err error) {
	number := func(text string) uint32 {
		n, parseErr := strconv.ParseUint(text, 10, 32)
		err = errors.Join(err, parseErr)
		return uint32(n)
	}
	for key, value := range fieldsOf(row) {
		switch key {
		case "key":
			name = strings.Clone(value)
		case "gpc0":
			f.Count = number(value)
		case "gpt0":
			f.TimeoutMillis = number(value)
		}
	}
	return name, f, err
}

// maxCommandLine is how many bytes of commands are sent over one connection: they have
// to fit into tune.bufsize, 16 KiB unless an operator has set it.
const maxCommandLine = 12 << 10

// Grant says what may be served without a question; of functions that are not named it
// stays as it is. What was read of HAProxy just before spares commands.
func (c *Client) Grant(ctx context.Context, before Unasked, grants []Grant) error {
	var commands []string
	length := 0
	send := func() error {
		if len(commands) == 0 {
			return nil
		}
		answer, err := c.run(ctx, commands...)
		if answer = strings.TrimSpace(answer); err == nil && answer != "" {
			err = fmt.Errorf("HAProxy at %s: %.200q", c.socket, answer)
		}
		commands, length = commands[:0], 0
		return err
	}
	for _, g := range grants {
		if !funcname.Valid(g.Function) {
			return fmt.Errorf("%.140q is not a function's name", g.Function)
		}
		for _, command := range g.commands(before.Functions[g.Function]) {
			if length += len(command) + 1; length > maxCommandLine {
				if err := send(); err != nil {
					return err
				}
				length = len(command) + 1
			}
			commands = append(commands, command)
		}
	}
	return send()
}

// commands are those that make the grant, the time limit first.
func (g *Grant) commands(before UnaskedFunction) []string {
	commands := make([]string, 0, 2)
	if g.UpTo != 0 && g.TimeoutMillis != before.TimeoutMillis {
		commands = append(commands, fmt.Sprintf("set table %s key %s data.gpt0 %d", BackendLocal, g.Function, g.TimeoutMillis))
	}
	return append(commands, fmt.Sprintf("set table %s key function/%s data.gpt0 %d", BackendGranted, g.Function, g.UpTo))
}
