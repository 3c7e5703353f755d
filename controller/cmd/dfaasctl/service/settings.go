// Package service knows how Debian's service starts HAProxy: with which files,
// and with which settings of the drop-in.
package service

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/spelling"
)

// Paths on Debian.
const (
	DefaultFile = "/etc/default/haproxy" // the service's environment
	mainConfig  = "/etc/haproxy/haproxy.cfg"
	pidFile     = "/run/haproxy.pid"
	// mainOptions are EXTRAOPTS where the file has none.
	mainOptions = "-S /run/haproxy-master.sock"
)

// DropInFile is the name of the drop-in's file.
const DropInFile = "dfaas.cfg"

const maxFile = 1 << 20 // bytes of a file that is read

// prefix is what the names of all settings of the drop-in begin with.
const prefix = "DFAAS_"

// Settings is how the service starts HAProxy next.
type Settings struct {
	File string // where they are from, for people
	// values is the environment: of the service, over that the caller's.
	values   map[string]string
	defaults map[string]string // of the drop-in
	written  []string          // names that are in the file
}

// Load reads the service's environment file, over which the environment (as of
// os.Environ) counts if it begins with DFAAS_, and the drop-in's defaults. A file
// that does not exist is an empty one.
func Load(file string, environ []string) (*Settings, error) {
	s := &Settings{File: file, values: map[string]string{"CONFIG": mainConfig, "PIDFILE": pidFile, "EXTRAOPTS": mainOptions}}
	text, err := read(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading HAProxy's settings: %w", err)
	}
	for key, value := range parseEnvironment(text) {
		s.values[key] = value
		s.written = append(s.written, key)
	}
	for _, entry := range environ {
		if key, value, ok := strings.Cut(entry, "="); ok && strings.HasPrefix(key, prefix) {
			s.values[key] = value
		}
	}
	s.defaults = presets(s.dropIn())
	return s, nil
}

// Get returns a setting of the drop-in, or another variable of the service.
func (s *Settings) Get(name string) string {
	if value, ok := s.values[name]; ok {
		return value
	}
	return s.defaults[name]
}

// Unknown is a name in the file that looks like a setting of the drop-in and is none:
// it changes nothing.
type Unknown struct {
	Name string
	// Meant is the setting that it probably should be, "" if none is like it.
	Meant string
}

// Unknown returns them in the order of their names.
func (s *Settings) Unknown() []Unknown {
	var all []Unknown
	settings := slices.Sorted(maps.Keys(s.defaults))
	for _, name := range slices.Sorted(slices.Values(s.written)) {
		// systemd ignores what begins with "export", and says so in the journal only.
		setting := strings.TrimSpace(strings.TrimPrefix(name, "export "))
		_, known := s.defaults[name]
		if strings.HasPrefix(strings.ToUpper(setting), prefix) && !known {
			all = append(all, Unknown{name, spelling.Nearest(strings.ToUpper(setting), settings)})
		}
	}
	return all
}

// Environ returns the settings in the form of os.Environ.
func (s *Settings) Environ() []string {
	var environ []string
	for key, value := range s.values {
		environ = append(environ, key+"="+value)
	}
	return environ
}

// PIDFile is where HAProxy writes the id of its master process.
func (s *Settings) PIDFile() string { return s.values["PIDFILE"] }

// Options are the words that HAProxy is started with, without those that say
// how it runs.
func (s *Settings) Options() []string {
	return append([]string{"-f", s.values["CONFIG"]}, strings.Fields(s.values["EXTRAOPTS"])...)
}

// Files are the configuration files that HAProxy is started with; a directory
// stands for the files in it.
func (s *Settings) Files() []string {
	var files []string
	words := s.Options()
	for i, word := range words {
		if word == "-f" && i+1 < len(words) {
			files = append(files, expand(words[i+1])...)
		}
	}
	return files
}

// expand returns the files that HAProxy would read for a path.
func expand(path string) []string {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return []string{path}
	}
	files, err := filepath.Glob(filepath.Join(path, "*.cfg"))
	if err != nil {
		return []string{path}
	}
	return files
}

// Loaded reports whether the drop-in is among the files.
func (s *Settings) Loaded() bool { return s.dropInPath() != "" }

func (s *Settings) dropInPath() string {
	for _, file := range s.Files() {
		if filepath.Base(file) == DropInFile {
			return file
		}
	}
	return ""
}

// dropIn is the text of the drop-in that would be loaded, of this version's if
// that cannot be told.
func (s *Settings) dropIn() string {
	if path := s.dropInPath(); path != "" {
		if text, err := read(path); err == nil {
			return text
		}
	}
	return haproxy.Config()
}

// Bind is a line of a configuration that opens an address.
type Bind struct {
	File    string
	Line    int
	Address string // as it is written
}

// OtherBinds are those of the files that are not the drop-in's.
func (s *Settings) OtherBinds() []Bind {
	var binds []Bind
	for _, file := range s.Files() {
		if filepath.Base(file) == DropInFile {
			continue
		}
		text, err := read(file)
		if err != nil {
			continue // HAProxy says so
		}
		number := 0
		for line := range strings.SplitSeq(text, "\n") {
			number++
			words := strings.Fields(line)
			if len(words) > 1 && words[0] == "bind" && !strings.Contains(words[1], "$") {
				binds = append(binds, Bind{file, number, strings.Trim(words[1], `"'`)})
			}
		}
	}
	return binds
}

// Chroot is the directory outside which HAProxy sees nothing once it runs, "/" for none.
func (s *Settings) Chroot() string {
	dir := "/"
	for _, file := range s.Files() {
		text, err := read(file)
		if err != nil {
			continue // HAProxy says so
		}
		for line := range strings.Lines(text) {
			if words := strings.Fields(line); len(words) > 1 && words[0] == "chroot" {
				dir = strings.Trim(words[1], `"'`)
			}
		}
	}
	return dir
}

// presets returns what the lines `presetenv NAME VALUE` of a configuration set.
func presets(config string) map[string]string {
	values := map[string]string{}
	for line := range strings.SplitSeq(config, "\n") {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "presetenv ")
		if !ok {
			continue
		}
		name, value, _ := strings.Cut(strings.TrimSpace(rest), " ")
		values[name] = strings.Trim(strings.TrimSpace(value), `"'`)
	}
	return values
}

// parseEnvironment reads an environment file as systemd does: NAME=VALUE lines,
// comments, quotes, and no expansion. Of a name that is set twice the last counts.
func parseEnvironment(text string) map[string]string {
	values := map[string]string{}
	text = strings.ReplaceAll(text, "\\\n", "")
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if name = strings.TrimSpace(name); ok && name != "" {
			values[name] = unquote(strings.TrimSpace(value))
		}
	}
	return values
}

// unquote removes quotes and backslashes. What is not UTF-8 stays as it is.
func unquote(value string) string {
	var out strings.Builder
	var quote byte
	escaped := false
	for i := range len(value) {
		switch c := value[i]; {
		case escaped:
			out.WriteByte(c)
			escaped = false
		case c == '\\' && quote != '\'':
			escaped = true
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote != 0 && c == quote:
			quote = 0
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}

func read(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	return string(text), err
}
