package provider

import (
	"cmp"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/faasd/functions"
	"github.com/dfaas/dfaas/internal/clip"
)

// Bounds of a deployment. One outside them is refused with 400.
const (
	maxImageLen    = 512
	maxCommandLen  = 4096
	maxMapEntries  = 256  // labels, annotations, environment: each
	maxKeyLen      = 256  // of a label, an annotation, a variable
	maxValueLen    = 8192 // likewise
	maxSecrets     = 64   // that one function may name
	maxInflight    = 10_000
	maxExecTimeout = time.Hour
)

// mode is how a function's process meets its requests.
type mode string

const (
	// modeSerializing starts a process per call once the whole request is
	// there, and answers when the process has ended.
	modeSerializing mode = "serializing"
	// modeStreaming starts a process per call at once; both directions stream.
	modeStreaming mode = "streaming"
	// modeHTTP keeps one process that serves HTTP itself.
	modeHTTP mode = "http"
)

// settings are the environment variables that configure a function rather than
// its process, by the names that OpenFaaS' two watchdogs gave them. Everybody
// may set them; those marked false are accepted and have no effect here.
var settings = map[string]bool{
	"fprocess": true, "function_process": true, "mode": true, "exec_timeout": true, "max_inflight": true, "content_type": true,

	"read_timeout": false, "write_timeout": false, "healthcheck_interval": false, "write_debug": false,
	"combine_output": false, "cgi_headers": false, "suppress_lock": false, "prefix_logs": false,
}

// spec is a deployment made ready to run. It is immutable.
type spec struct {
	name, namespace string
	argv            []string // argv[0] is an absolute path
	mode            mode
	env             []string        // of every process of the function
	variables       map[string]bool // the variables of env, by variableKey
	contentType     string          // of every answer; empty: the request's
	timeout         time.Duration
	maxInflight     int64
}

// resolver turns deployments into specs.
type resolver struct {
	catalogue *functions.Catalogue
	// allowProcesses lets a deployment name any command; otherwise only those of
	// the catalogue run.
	allowProcesses bool
	path           string // PATH of the functions
	timeout        time.Duration
	maxInflight    int64
}

// checkDeployment checks the bounds and fills in the default namespace.
func (r *resolver) checkDeployment(d *types.FunctionDeployment) error {
	if d.Namespace == "" {
		d.Namespace = faasd.DefaultNamespace
	}
	if err := cmp.Or(faasd.CheckLabel("function name", d.Service), faasd.CheckLabel("namespace", d.Namespace)); err != nil {
		return badRequest("%s", err)
	}
	if d.Image == "" || len(d.Image) > maxImageLen || hasControl(d.Image) {
		return badRequest("image: give the name of a catalogue image, at most %d bytes", maxImageLen)
	}
	if len(d.EnvProcess) > maxCommandLen || hasControl(d.EnvProcess) {
		return badRequest("envProcess: at most %d bytes in one line", maxCommandLen)
	}
	if len(d.Secrets) > maxSecrets || len(d.Constraints) > maxMapEntries {
		return badRequest("at most %d secrets and %d constraints", maxSecrets, maxMapEntries)
	}
	for name := range d.EnvVars {
		if !validVariable(name) {
			return badRequest("envVars: %q is not the name of a variable", clip.Text(name))
		}
	}
	return cmp.Or(checkMap("envVars", d.EnvVars), checkMap("labels", deref(d.Labels)),
		checkMap("annotations", deref(d.Annotations)))
}

func checkMap(what string, entries map[string]string) error {
	if len(entries) > maxMapEntries {
		return badRequest("%s: at most %d", what, maxMapEntries)
	}
	for key, value := range entries {
		if key == "" || len(key) > maxKeyLen || len(value) > maxValueLen || strings.ContainsRune(key+value, 0) {
			return badRequest("%s: %q needs a name of 1 to %d bytes and a value of at most %d, without NUL",
				what, clip.Text(key), maxKeyLen, maxValueLen)
		}
	}
	return nil
}

// resolve makes a checked deployment ready to run. It looks for the command on
// this machine.
func (r *resolver) resolve(d types.FunctionDeployment) (*spec, error) {
	s := &spec{name: d.Service, namespace: d.Namespace, contentType: d.EnvVars["content_type"]}
	command, entry, err := r.command(d)
	if err != nil {
		return nil, err
	}
	if err := r.checkEnvironment(d.EnvVars); err != nil {
		return nil, err
	}
	s.argv = strings.Fields(command)
	builtIn := entry != nil && command == entry.Command && s.argv[0] == functions.Program
	program, err := lookUp(s.argv[0], builtIn)
	if err != nil {
		return nil, missingProgram(s.argv[0], entry)
	}
	s.argv[0] = program
	if builtIn {
		s.mode = mode(entry.Mode)
	}
	if err := r.readSettings(s, d); err != nil {
		return nil, err
	}
	s.env = r.environment(d)
	s.variables = make(map[string]bool, len(s.env))
	for _, variable := range s.env {
		name, _, _ := strings.Cut(variable, "=")
		s.variables[variableKey(name)] = true
	}
	return s, nil
}

// lookUp finds a program on this machine. A function that is built into this
// program is run by this program, wherever it is and whatever it is called.
func lookUp(program string, builtIn bool) (string, error) {
	if builtIn {
		return os.Executable()
	}
	return exec.LookPath(program)
}

// command chooses what the function runs, and the catalogue entry behind it.
func (r *resolver) command(d types.FunctionDeployment) (string, *functions.Entry, error) {
	entry := r.catalogue.Find(d.Image)
	asked := cmp.Or(d.EnvVars["fprocess"], d.EnvVars["function_process"], d.EnvProcess)
	switch {
	case entry != nil && asked == "":
		return entry.Command, entry, nil
	case entry != nil && entry.Allows(asked):
		return asked, entry, nil
	case asked == "":
		return "", nil, badRequest("image %q is not in the catalogue (%s): this provider runs local commands, not images; "+
			"use one of those, or start dfaas-provider with --allow-processes and name the command in envProcess",
			clip.Text(d.Image), r.catalogueNames())
	case !r.allowProcesses:
		return "", nil, badRequest("envProcess %q is not a command of the catalogue for image %q: "+
			"dfaas-provider must be started with --allow-processes to run any other", clip.Text(asked), clip.Text(d.Image))
	}
	if len(asked) > maxCommandLen || hasControl(asked) {
		return "", nil, badRequest("fprocess: at most %d bytes in one line", maxCommandLen)
	}
	if strings.TrimSpace(asked) == "" {
		return "", nil, badRequest("envProcess is blank: name the command to run")
	}
	return asked, entry, nil
}

// checkEnvironment refuses variables of the process itself unless any command
// may run anyway: LD_PRELOAD, say, with a secret as the library, would make any
// command run anything.
func (r *resolver) checkEnvironment(variables map[string]string) error {
	if r.allowProcesses {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		if _, ok := settings[name]; !ok {
			return badRequest("envVars: %q is not one of the settings (%s): dfaas-provider must be started with --allow-processes "+
				"to give functions other variables", clip.Text(name), strings.Join(slices.Sorted(maps.Keys(settings)), ", "))
		}
	}
	return nil
}

func (r *resolver) readSettings(s *spec, d types.FunctionDeployment) error {
	labels := deref(d.Labels)
	asked, err := parseMode(d.EnvVars["mode"])
	switch {
	case err != nil:
		return err
	case s.mode == "":
		if asked == modeHTTP && !r.allowProcesses {
			return badRequest("mode=http needs a command that serves HTTP: use the image http-echo, " +
				"or start dfaas-provider with --allow-processes and name yours in envProcess")
		}
		s.mode = cmp.Or(asked, modeSerializing)
	case asked != "" && asked != s.mode:
		return badRequest("mode %q: image %q has no other mode than %s", asked, clip.Text(d.Image), s.mode)
	}
	if s.timeout, err = parseTimeout(d.EnvVars["exec_timeout"], r.timeout); err != nil {
		return err
	}
	s.maxInflight, err = parseInflight(cmp.Or(d.EnvVars["max_inflight"], labels["max_inflight"]), r.maxInflight)
	if err == nil && hasControl(s.contentType) {
		err = badRequest("content_type: %q is not a media type", clip.Text(s.contentType))
	}
	return err
}

func (r *resolver) environment(d types.FunctionDeployment) []string {
	env := []string{"PATH=" + r.path, "HOME=/tmp", "LANG=C.UTF-8"}
	for _, name := range slices.Sorted(maps.Keys(d.EnvVars)) {
		env = append(env, name+"="+d.EnvVars[name])
	}
	return env
}

func (r *resolver) catalogueNames() string {
	var names []string
	for _, entry := range r.catalogue.Entries() {
		names = append(names, entry.Name)
	}
	return strings.Join(names, ", ")
}

func missingProgram(program string, entry *functions.Entry) error {
	if entry != nil && strings.Fields(entry.Command)[0] == program {
		return badRequest("command %s is not installed on this node: apt-get install %s", program, entry.Package)
	}
	return badRequest("command %q is not installed on this node, or is not executable: give its absolute path, or install it", clip.Text(program))
}

func parseMode(text string) (mode, error) {
	switch m := mode(text); m {
	case "", modeSerializing, modeStreaming, modeHTTP:
		return m, nil
	}
	return "", badRequest("mode %q: use serializing (the default), streaming or http", clip.Text(text))
}

// parseTimeout reads a duration as the watchdogs do: 10s, or 10 for seconds.
// 0 and nothing mean the provider's own.
func parseTimeout(text string, byDefault time.Duration) (time.Duration, error) {
	if text == "" {
		return byDefault, nil
	}
	duration, err := time.ParseDuration(text)
	if seconds, numErr := strconv.ParseUint(text, 10, 16); numErr == nil {
		duration, err = time.Duration(seconds)*time.Second, nil
	}
	if err != nil || duration < 0 || duration > maxExecTimeout {
		return 0, badRequest("exec_timeout %q: use a duration of at most %s, such as 30s", clip.Text(text), maxExecTimeout)
	}
	if duration == 0 {
		return byDefault, nil
	}
	return duration, nil
}

func parseInflight(text string, byDefault int64) (int64, error) {
	if text == "" || text == "0" {
		return byDefault, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 || n > maxInflight {
		return 0, badRequest("max_inflight %q: use a number of calls at once from 1 to %d", clip.Text(text), maxInflight)
	}
	return n, nil
}

// validVariable reports whether name can name an environment variable.
func validVariable(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := c == '_' || (c|0x20 >= 'a' && c|0x20 <= 'z')
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}

func deref(m *map[string]string) map[string]string {
	if m == nil {
		return nil
	}
	return *m
}
