package haproxy

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
)

// Calls is what HAProxy has counted of a function that this node's gateway serves,
// since HAProxy started.
type Calls struct {
	Begun, UnderWay int64
	// Failed is how many were answered with a status from 500 on but 501, with a broken
	// answer, or not in time. A gateway that takes no connections is not the function's
	// failure, nor is a caller that leaves.
	Failed int64
}

// aboutCalls is the command whose answer parseCalls reads.
const aboutCalls = "show table " + BackendLocal

func (c *Client) parseCalls(answer string) (map[string]Calls, error) {
	calls, err := parseCalls(answer)
	if err != nil {
		return nil, fmt.Errorf("HAProxy at %s, %s: %w", c.socket, BackendLocal, err)
	}
	return calls, nil
}

// parseCalls reads the answer to `show table BackendLocal`. The drop-in of an older
// release counts nothing there.
func parseCalls(answer string) (map[string]Calls, error) {
	rows, err := rowsOf(answer)
	if err != nil {
		return nil, err
	}
	calls := make(map[string]Calls)
	for row := range rows {
		values := maps.Collect(fieldsOf(row))
		if values["key"] == "" || values["http_req_cnt"] == "" {
			continue
		}
		begun, err := strconv.ParseUint(values["http_req_cnt"], 10, 32)
		underWay, err2 := strconv.ParseUint(values["conn_cur"], 10, 32)
		failed, err3 := strconv.ParseUint(values["http_fail_cnt"], 10, 32)
		if err := errors.Join(err, err2, err3); err != nil {
			return nil, fmt.Errorf("row of a table expected, got %.120q", row)
		}
		calls[values["key"]] = Calls{Begun: int64(begun), UnderWay: int64(underWay), Failed: int64(failed)}
	}
	return calls, nil
}
