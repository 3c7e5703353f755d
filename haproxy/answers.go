package haproxy

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/dfaas/dfaas/internal/funcname"
)

// Function is one as it was called.
type Function struct {
	Name  string
	Async bool // by /async-function/NAME
}

// Answers is what became of the calls of a function that a peer was sent, since
// HAProxy started. The numbers only grow, as long as its table has room for all that
// are called.
type Answers struct {
	// Served is how many the peer has answered, if only by an error of the function,
	// which may be its user's doing.
	Served int64
	// Lost is how many it has refused, or broken off, or not answered in time, or not
	// taken the connection for.
	Lost int64
	// Left is how many were given up by their callers, after a second or more without
	// an answer.
	Left int64
}

// answersRow is a row of the table of BackendPeers.
type answersRow struct {
	peer     string
	function Function // none: what is known of the peer itself
	answers  Answers
}

// key is what HAProxy calls the row; false if it is none of the drop-in's.
func (r *answersRow) key() (string, bool) {
	switch {
	case r.function == Function{}:
		return r.peer, true
	case r.function.Async:
		return r.peer + "/async-function/" + r.function.Name, funcname.Valid(r.function.Name)
	}
	return r.peer + "/function/" + r.function.Name, funcname.Valid(r.function.Name)
}

// answersOf sorts what was counted by peer.
func answersOf(rows []answersRow) map[string]map[Function]Answers {
	counted := make(map[string]map[Function]Answers)
	for _, r := range rows {
		switch {
		case r.function.Name == "":
		case counted[r.peer] == nil:
			counted[r.peer] = map[Function]Answers{r.function: r.answers}
		default:
			counted[r.peer][r.function] = r.answers
		}
	}
	return counted
}

// parseAnswers reads the answer to `show table BackendPeers`.
func parseAnswers(answer string) ([]answersRow, error) {
	rows, err := rowsOf(answer)
	if err != nil {
		return nil, err
	}
	var all []answersRow
	for line := range rows {
		row, err := parseAnswersRow(line)
		if err != nil {
			return nil, fmt.Errorf("row of a table expected, got %.250q", line)
		}
		all = append(all, row)
	}
	return all, nil
}

// parseAnswersRow reads one row. Its key is ID or ID/function/NAME, with the drop-in of
// an older release always ID.
func parseAnswersRow(line string) (row answersRow, err error) {
	number := func(text string) int64 {
		n, parseErr := strconv.ParseUint(text, 10, 32)
		err = errors.Join(err, parseErr)
		return int64(n)
	}
	fields := 0
	for key, value := range fieldsOf(line) {
		switch key {
		case "key":
			var function string
			row.peer, function, _ = strings.Cut(strings.Clone(value), "/")
			function, row.function.Name, _ = strings.Cut(function, "/")
			row.function.Async = function == "async-function"
		case "gpc0":
			row.answers.Lost = number(value)
		case "gpc1":
			row.answers.Served = number(value)
		case "gpc2": // not with the drop-in of an older release
			row.answers.Left = number(value)
			continue
		default:
			continue
		}
		fields++
	}
	if row.peer == "" || fields != 3 {
		err = errors.Join(err, errors.New("fields are missing"))
	}
	return row, err
}

// forget is how to forget what was counted of a peer.
func (c *Client) forget(ctx context.Context, peer string) ([]command, error) {
	answer, err := c.run(ctx, "show table "+BackendPeers)
	if err != nil {
		return nil, err
	}
	rows, err := parseAnswers(answer)
	if err != nil {
		return nil, fmt.Errorf("HAProxy at %s, %s: %w", c.socket, BackendPeers, err)
	}
	var commands []command
	for i := range rows {
		if key, ours := rows[i].key(); ours && rows[i].peer == peer {
			commands = append(commands, command{text: "clear table " + BackendPeers + " key " + key, unless: "in use"})
		}
	}
	return commands, nil
}
