package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
)

// asProgram makes this test binary be a program, see program.
const asProgram = "DFAAS_CLI_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		Main(program)
	}
	os.Exit(m.Run())
}

// program is a command line that does what its first argument says.
func program(system System) *cobra.Command {
	var log LogFlags
	root := &cobra.Command{
		Use: "prog [WHAT]", Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			logger, err := log.Logger(system.Err)
			switch {
			case err != nil:
				return err
			case len(args) == 0:
				return nil
			}
			switch args[0] {
			case "fail":
				return errors.New("it failed\nin two lines")
			case "usage":
				return fmt.Errorf("outer: %w", Usage(errors.New("called badly")))
			case "wait", "hang":
				fmt.Fprintln(system.Out, "waiting")
				<-c.Context().Done()
				fmt.Fprintln(system.Out, "asked to end")
				if args[0] == "hang" {
					select {}
				}
				return c.Context().Err()
			case "log":
				logger.Debug().Msg("d")
				logger.Info().Str("text", "two\nlines").Msg("i")
				logger.Warn().Msg("w")
				logger.Error().Msg("e")
			}
			return nil
		},
	}
	log.Add(root.Flags())
	FromVariables(root.Flags(), "PROG_")
	AddVersion(root, "v1.2.3")
	return root
}

func TestExitCodes(t *testing.T) {
	for _, tc := range []struct {
		args    []string
		environ []string
		code    int
		want    string // in what it prints
	}{
		{args: nil, code: 0},
		{args: []string{"--help"}, code: 0, want: "--log-level"},
		{args: []string{"--version"}, code: 0, want: "prog version v1.2.3 (go"},
		{args: []string{"version"}, code: 0, want: "prog version v1.2.3 (go"},
		{args: []string{"fail"}, code: ExitFailure, want: "prog: it failed\nin two lines\n"},
		{args: []string{"usage"}, code: ExitUsage, want: "prog: outer: called badly\n"},
		{args: []string{"--nope"}, code: ExitUsage, want: "prog: unknown flag: --nope\nSee 'prog --help'.\n"},
		{args: []string{"a", "b"}, code: ExitUsage, want: "See 'prog --help'."},
		{args: []string{"version", "x"}, code: ExitUsage, want: "See 'prog version --help'."},
		{args: []string{"--log-level", "loud"}, code: ExitUsage, want: `--log-level "loud": use debug, info, warn or error`},
		{args: []string{"--log-format", "xml"}, code: ExitUsage, want: `--log-format "xml": use json or console`},
		{environ: []string{"PROG_LOG_FORMAT=xml"}, code: ExitUsage, want: `"xml"`},
		{environ: []string{"PROG_LOG_FORMAT=xml"}, args: []string{"--log-format", "yaml"}, code: ExitUsage, want: `"yaml"`},
		{environ: []string{"PROG_LOG_FORMAT="}, code: 0},
		{environ: []string{"PROG_LOG_FROMAT=json"}, code: 0, want: "Warning: nobody reads PROG_LOG_FROMAT: did you mean PROG_LOG_FORMAT?\n"},
	} {
		var out bytes.Buffer
		system := System{Args: tc.args, Environ: tc.environ, Out: &out, Err: &out}
		if code := Run(t.Context(), program(system), system); code != tc.code || !strings.Contains(out.String(), tc.want) {
			t.Errorf("%q %q: exit code %d, want %d and %q in:\n%s", tc.environ, tc.args, code, tc.code, tc.want, &out)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	system := System{Args: []string{"wait"}, Out: io.Discard, Err: io.Discard}
	if code := Run(ctx, program(system), system); code != ExitInterrupted {
		t.Errorf("interrupted: exit code %d", code)
	}
}

func start(t *testing.T, environ []string, stderr *os.File, args ...string) (*exec.Cmd, io.Reader) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), append(environ, asProgram+"=1")...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if stderr != nil {
		cmd.Stderr = stderr
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

func line(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want)+1)
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want+"\n" {
		t.Fatalf("it printed %q, %v; want %q", got, err, want)
	}
}

// TestSignals: the first signal asks, the second one ends what does not listen.
func TestSignals(t *testing.T) {
	// A shell has what it starts in the background ignore SIGINT, and all that this starts in
	// turn; unless it handles it.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	defer signal.Reset(os.Interrupt)
	cmd, out := start(t, nil, nil, "wait")
	line(t, out, "waiting")
	_ = cmd.Process.Signal(syscall.SIGTERM)
	line(t, out, "asked to end")
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != ExitInterrupted {
		t.Errorf("after one signal: %v", cmd.ProcessState)
	}
	cmd, out = start(t, nil, nil, "hang")
	line(t, out, "waiting")
	_ = cmd.Process.Signal(os.Interrupt)
	line(t, out, "asked to end")
	_ = cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGINT {
		t.Errorf("after two signals: %v", cmd.ProcessState)
	}
}

// TestJournal: lines that go to systemd's journal carry their priority and leave
// the time to it; others carry the time.
func TestJournal(t *testing.T) {
	run := func(journal bool, args ...string) string {
		t.Helper()
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		var stat syscall.Stat_t
		if err := syscall.Fstat(int(writer.Fd()), &stat); err != nil {
			t.Fatal(err)
		}
		stream := fmt.Sprintf("JOURNAL_STREAM=%d:%d", stat.Dev, stat.Ino)
		if !journal {
			stream += "1" // somebody else's
		}
		cmd, _ := start(t, []string{stream}, writer, args...)
		writer.Close()
		text, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		return string(text)
	}
	want := `<7>{"level":"debug","message":"d"}
<6>{"level":"info","text":"two\nlines","message":"i"}
<4>{"level":"warn","message":"w"}
<3>{"level":"error","message":"e"}
`
	if got := run(true, "log", "--log-level=debug"); got != want {
		t.Errorf("in the journal:\n%swant:\n%s", got, want)
	}
	want = "<6>INF i text=\"two\\nlines\"\n<4>WRN w\n<3>ERR e\n"
	if got := run(true, "log", "--log-format=console"); got != want {
		t.Errorf("in the journal, for people:\n%swant:\n%s", got, want)
	}
	if got := run(true, "fail"); got != "<3>prog: it failed\n<3>in two lines\n" {
		t.Errorf("why it ended:\n%s", got)
	}
	if got := run(false, "log", "--log-level=error"); !strings.HasPrefix(got, `{"level":"error","time":"`) {
		t.Errorf("elsewhere:\n%s", got)
	}
	if got := run(false, "fail"); got != "prog: it failed\nin two lines\n" {
		t.Errorf("why it ended, elsewhere:\n%s", got)
	}
}
