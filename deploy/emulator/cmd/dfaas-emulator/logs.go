package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/internal/cli"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// followEvery is how often files are looked at for more.
const followEvery = 200 * time.Millisecond

func (a *app) logsCommand() *cobra.Command {
	var dir string
	var follow bool
	var lines int
	c := &cobra.Command{
		Use:   "logs NODE [PART]",
		Short: "show what the parts of a node have logged",
		Long: `logs shows the end of what a part (spoa, controller, haproxy, provider) of a node has logged, or of what each of them has. It
reads the files of --dir, so it also works when the federation is down.`,
		Example: "  dfaas-emulator logs node-1\n  dfaas-emulator logs node-1 haproxy -f",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			parts := scenario.Parts()
			if len(args) == 2 {
				part, err := scenario.ParsePart(args[1])
				if err != nil {
					return cli.Usage(err)
				}
				if part != scenario.All {
					parts = []scenario.Part{part}
				}
			}
			logs, err := openLogs(dir, args[0], parts)
			if err != nil {
				return err
			}
			defer logs.close()
			if err := logs.tail(a.out, lines); err != nil || !follow {
				return err
			}
			return logs.follow(c.Context(), a.out)
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return faultCompletion([]string{"", ""}), cobra.ShellCompDirectiveNoFileComp
			}
			return nodeNames(&dir, 1)(c, args, word)
		},
	}
	dirFlag(c, &dir)
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on showing what is logged, until Ctrl-C")
	c.Flags().IntVarP(&lines, "lines", "n", 20, "so many lines of each part; -1 for all")
	return c
}

// logFiles are the logs of a node.
type logFiles []*logFile

type logFile struct {
	name string // before each line; "": nothing
	file *os.File
	rest []byte // the beginning of a line whose end is not there yet
}

func openLogs(dir, node string, parts []scenario.Part) (logFiles, error) {
	var logs logFiles
	if node != filepath.Base(node) {
		return nil, cli.Usage(fmt.Errorf("%q is no name of a node", node))
	}
	for _, part := range parts {
		file, err := os.Open(filepath.Join(dir, node, string(part)+".log"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			logs.close()
			return nil, err
		}
		l := &logFile{file: file}
		if len(parts) > 1 {
			l.name = fmt.Sprintf("%-10s  ", part)
		}
		logs = append(logs, l)
	}
	if len(logs) == 0 {
		return nil, fmt.Errorf("%s has no logs of %s: `dfaas-emulator ps --dir %s` shows the nodes that are up", dir, node, dir)
	}
	return logs, nil
}

func (l logFiles) close() {
	for _, f := range l {
		f.file.Close()
	}
}

// tail writes the last lines of each.
func (l logFiles) tail(w io.Writer, lines int) error {
	for _, f := range l {
		if err := f.seek(lines); err != nil {
			return err
		}
		if err := f.copy(w); err != nil {
			return err
		}
	}
	return nil
}

// seek goes to where the last lines begin.
func (f *logFile) seek(lines int) error {
	if lines < 0 {
		return nil
	}
	var starts []int64 // of the last lines
	at, begins := int64(0), true
	for r := bufio.NewReader(f.file); ; {
		text, err := r.ReadSlice('\n')
		if len(text) > 0 && begins {
			starts = append(starts, at)
			starts = starts[max(0, len(starts)-lines):]
		}
		at += int64(len(text))
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			break
		}
		begins = err == nil // else a long line goes on
	}
	if len(starts) == 0 {
		starts = []int64{at}
	}
	_, err := f.file.Seek(starts[0], io.SeekStart)
	return err
}

// copy writes all whole lines that are there. A file that has become shorter was begun
// anew.
func (f *logFile) copy(w io.Writer) error {
	at, err := f.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if info, err := f.file.Stat(); err == nil && info.Size() < at {
		f.rest = nil
		if _, err := f.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	for r := bufio.NewReader(f.file); ; {
		text, err := r.ReadBytes('\n')
		f.rest = append(f.rest, text...)
		if err == nil {
			if _, err = fmt.Fprintf(w, "%s%s", f.name, f.rest); err != nil {
				return err
			}
			f.rest = f.rest[:0]
			continue
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
}

// follow goes on with what comes.
func (l logFiles) follow(ctx context.Context, w io.Writer) error {
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			for _, f := range l {
				if err := f.copy(w); err != nil {
					return err
				}
			}
		}
	}
}
