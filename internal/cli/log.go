package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/rs/zerolog"
	"github.com/spf13/pflag"
)

// LogLevels and LogFormats are the values that a logger can be made of.
var (
	LogLevels  = []string{"debug", "info", "warn", "error"}
	LogFormats = []string{"json", "console"}
)

// LogFlags are the flags that say how a program logs.
type LogFlags struct{ level, format string }

// Add adds --log-level and --log-format.
func (f *LogFlags) Add(flags *pflag.FlagSet) {
	flags.StringVar(&f.level, "log-level", "info", "lowest level that is logged: debug, info, warn or error")
	flags.StringVar(&f.format, "log-format", "json", "json or console")
}

// Logger returns a logger to w, or what is wrong with the flags.
func (f *LogFlags) Logger(w io.Writer) (zerolog.Logger, error) {
	if !slices.Contains(LogLevels, f.level) {
		return zerolog.Logger{}, Usage(fmt.Errorf("--log-level %q: use %s", f.level, anyOf(LogLevels)))
	}
	if !slices.Contains(LogFormats, f.format) {
		return zerolog.Logger{}, Usage(fmt.Errorf("--log-format %q: use %s", f.format, anyOf(LogFormats)))
	}
	return NewLogger(w, f.level, f.format), nil
}

func anyOf(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// NewLogger returns a logger to w of one of LogLevels and LogFormats. What goes
// to systemd's journal says its priority there, and leaves the time to it.
func NewLogger(w io.Writer, level, format string) zerolog.Logger {
	console := format == "console"
	parsed, err := zerolog.ParseLevel(level)
	if err != nil {
		parsed = zerolog.InfoLevel
	}
	if inJournal(w) {
		return zerolog.New(&journalWriter{w, console}).Level(parsed)
	}
	if console {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly, NoColor: !IsColor(w)}
	}
	return zerolog.New(w).Level(parsed).With().Timestamp().Logger()
}

// inJournal reports whether w is standard error and that is systemd's journal.
func inJournal(w io.Writer) bool {
	if w != os.Stderr {
		return false
	}
	journaled, err := journal.StderrIsJournalStream()
	return err == nil && journaled
}

// Prefixes by which systemd tells how important a line is, see sd-daemon(3).
const (
	priorityCritical = "<2>"
	priorityError    = "<3>"
	priorityWarning  = "<4>"
	priorityInfo     = "<6>"
	priorityDebug    = "<7>"
)

// journalWriter puts a line's priority before it.
type journalWriter struct {
	w       io.Writer
	console bool
}

func (j *journalWriter) Write(line []byte) (int, error) { return j.WriteLevel(zerolog.InfoLevel, line) }

// WriteLevel writes the line in one piece, since goroutines log at once.
func (j *journalWriter) WriteLevel(level zerolog.Level, line []byte) (int, error) {
	var b bytes.Buffer
	b.WriteString(priority(level))
	if j.console {
		text := zerolog.ConsoleWriter{Out: &b, NoColor: true, PartsExclude: []string{zerolog.TimestampFieldName}}
		if _, err := text.Write(line); err != nil {
			return 0, err
		}
	} else {
		b.Write(line)
	}
	if _, err := j.w.Write(b.Bytes()); err != nil {
		return 0, err
	}
	return len(line), nil
}

func priority(level zerolog.Level) string {
	switch level {
	case zerolog.TraceLevel, zerolog.DebugLevel:
		return priorityDebug
	case zerolog.WarnLevel:
		return priorityWarning
	case zerolog.ErrorLevel:
		return priorityError
	case zerolog.FatalLevel, zerolog.PanicLevel:
		return priorityCritical
	default:
		return priorityInfo
	}
}
