package haproxy

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxServers is the most servers accepted in one backend.
const maxServers = 4096

// State is what HAProxy thinks of a server.
type State string

// The states, and where HAProxy's own words for them differ, those.
const (
	Up    State = "up"    // also "no check" and "NOLB"
	Down  State = "down"  // health checks fail
	Maint State = "maint" // disabled: new servers, and those to be deleted
	Drain State = "drain" // weight 0 set by the operator; still reached by use-server
)

// Server is one row of HAProxy's statistics.
type Server struct {
	Name    string
	Address netip.AddrPort // invalid for servers behind unix sockets
	State   State
	Checked bool   // health checks are on; unknown, and so false, in the state Maint
	Check   string // last check's result in HAProxy's words, such as "L4CON in 0ms"; empty: none yet
	Weight  int
	TLS     bool // it is spoken to in TLS
	// Since is how long ago, in whole seconds, it last began or ceased to take
	// requests: for one in the state Maint that was Down before, since then.
	Since time.Duration
	// Sessions is the number of requests being served, Total of those ever
	// served, Errors of failed connections and broken answers, since the server
	// was added.
	Sessions, Total, Errors int64
	// Good is the number of answers with a status below 400. Lost is that of
	// requests which got anything else: an answer with another status, a broken
	// one, none in time, or, for want of a connection, another server. Of peers,
	// Answers says more.
	Good, Lost int64
	// Answers is, in BackendPeers, what became of the calls of each function.
	Answers map[Function]Answers
}

// parseServers reads the answer to `show stat BACKEND 4 -1`.
func parseServers(answer string) ([]Server, error) {
	head, ok := strings.CutPrefix(answer, "# ")
	if !ok {
		return nil, fmt.Errorf("statistics expected, got %.80q", answer)
	}
	r := csv.NewReader(strings.NewReader(head))
	r.ReuseRecord = true
	names, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("reading the statistics' column names: %w", err)
	}
	columns := make(map[string]int, len(names))
	for i, name := range names {
		columns[name] = i
	}
	for _, name := range []string{"svname", "status", "weight", "addr"} {
		if _, ok := columns[name]; !ok {
			return nil, fmt.Errorf("the statistics have no column %q", name)
		}
	}
	var servers []Server
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return servers, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the statistics: %w", err)
		}
		if len(servers) == maxServers {
			return nil, fmt.Errorf("more than %d servers in one backend", maxServers)
		}
		server, err := parseServer(func(column string) string {
			if i, ok := columns[column]; ok {
				return row[i]
			}
			return ""
		})
		if err != nil {
			return nil, err
		}
		servers = append(servers, server)
	}
}

// parseTLS reads the answer to `show servers state BACKEND`: the names of the
// servers that are spoken to in TLS.
func parseTLS(answer string) (map[string]bool, error) {
	_, rows, found := strings.Cut(answer, "# be_id ")
	head, rows, _ := strings.Cut(rows, "\n")
	columns := strings.Fields("be_id " + head)
	name, tls := slices.Index(columns, "srv_name"), slices.Index(columns, "srv_use_ssl")
	if !found || name < 0 || tls < 0 {
		return nil, fmt.Errorf("state of servers expected, got %.80q", answer)
	}
	speaks := make(map[string]bool)
	for row := range strings.Lines(rows) {
		if fields := strings.Fields(row); len(fields) > max(name, tls) && fields[tls] == "1" {
			speaks[fields[name]] = true
		}
	}
	return speaks, nil
}

func parseServer(field func(column string) string) (Server, error) {
	s := Server{Name: strings.Clone(field("svname"))}
	if s.Name == "" {
		return Server{}, errors.New("a server without a name in the statistics")
	}
	// Not an address for servers behind unix sockets, which is fine.
	s.Address, _ = netip.ParseAddrPort(field("addr"))
	s.State, s.Checked = parseStatus(field("status"))
	// "INI" is a check that has not run yet, a leading "* " one that runs now.
	if check := strings.TrimPrefix(field("check_status"), "* "); check != "" && check != "INI" {
		s.Check = check + " in " + field("check_duration") + "ms"
	}
	var errs []error
	number := func(column string) int64 {
		text := field(column)
		if text == "" {
			return 0
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			errs = append(errs, fmt.Errorf("server %.80q: %s is %.40q, not a number", s.Name, column, text))
		}
		return n
	}
	s.Weight = int(number("weight"))
	s.Since = time.Duration(number("lastchg")) * time.Second
	s.Sessions, s.Total = number("scur"), number("stot")
	s.Errors = number("econ") + number("eresp")
	s.Good = number("hrsp_1xx") + number("hrsp_2xx") + number("hrsp_3xx")
	// No connection is why a call goes to another server, so what else is in econ has
	// waited in vain for one to end: users can bring that about.
	s.Lost = number("hrsp_4xx") + number("hrsp_5xx") + number("hrsp_other") + number("eresp") + number("wredis")
	return s, errors.Join(errs...)
}

// parseStatus reads the column status: "UP", "UP 1/3", "DOWN", "DOWN 1/2",
// "MAINT", "MAINT (via ...)", "NOLB", "DRAIN", "no check", ...
func parseStatus(status string) (state State, checked bool) {
	word, _, _ := strings.Cut(status, " ")
	switch word {
	case "UP", "NOLB":
		return Up, true
	case "no":
		return Up, false
	case "MAINT":
		return Maint, false
	case "DRAIN":
		return Drain, true
	default:
		return Down, true
	}
}

// Info tells which HAProxy process answers.
type Info struct {
	Version string // such as "2.6.12-1+deb12u1"
	// PID of the process that serves. It changes with every reload and restart,
	// which also lose the dynamic servers.
	PID    int
	Uptime time.Duration // of that process, in whole seconds
	// MaxConn is the most connections that the process accepts, all frontends
	// together.
	MaxConn int
}

// atLeast reports whether the version is this one or a later one.
func (i Info) atLeast(major, minor int) bool {
	var have [2]int
	if n, _ := fmt.Sscanf(i.Version, "%d.%d", &have[0], &have[1]); n != 2 {
		return false
	}
	return have[0] > major || have[0] == major && have[1] >= minor
}

// parseInfo reads the answer to `show info`.
func parseInfo(answer string) (Info, error) {
	fields := make(map[string]string)
	for line := range strings.Lines(answer) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			fields[name] = value
		}
	}
	info := Info{Version: fields["Version"]}
	if info.Version == "" {
		return Info{}, fmt.Errorf("`show info` names no version: %.80q", answer)
	}
	pid, err := strconv.Atoi(fields["Pid"])
	if err != nil || pid <= 0 {
		return Info{}, fmt.Errorf("`show info` names no process: Pid is %.40q", fields["Pid"])
	}
	seconds, err := strconv.ParseUint(fields["Uptime_sec"], 10, 32)
	if err != nil {
		return Info{}, fmt.Errorf("`show info`: Uptime_sec is %.40q, not a number", fields["Uptime_sec"])
	}
	info.PID, info.Uptime = pid, time.Duration(seconds)*time.Second
	info.MaxConn, err = strconv.Atoi(fields["Maxconn"])
	if err != nil || info.MaxConn <= 0 {
		return Info{}, fmt.Errorf("`show info`: Maxconn is %.40q, not a number", fields["Maxconn"])
	}
	return info, nil
}
