package core

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the effects in testdata/trace by what they are now")

// TestTraces plays the files of testdata/trace. A line that is not indented is
// something that happens (see play), or a comment that begins with #. Indented
// lines below it are what the core does about it, and when.
func TestTraces(t *testing.T) {
	files, err := filepath.Glob("testdata/trace/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			after := playFile(t, before)
			if bytes.Equal(before, after) {
				return
			}
			if *update {
				if err := os.WriteFile(file, after, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("%s is not what happens (-the file +now); if it should be now, run go test with -update:\n%s",
				file, cmp.Diff(strings.Split(string(before), "\n"), strings.Split(string(after), "\n")))
		})
	}
}

// playFile plays a file's events and returns the file with their effects.
func playFile(t *testing.T, file []byte) []byte {
	var out bytes.Buffer
	var w *world
	for number, line := range strings.Split(strings.TrimRight(string(file), "\n"), "\n") {
		switch {
		case strings.HasPrefix(line, "\t"):
			continue
		case line == "" || strings.HasPrefix(line, "#"):
			fmt.Fprintln(&out, line)
			continue
		}
		fmt.Fprintln(&out, line)
		words := strings.Fields(line)
		if words[0] == "node" {
			w = newWorld(t, words[1:])
		} else if w == nil {
			t.Fatalf("line %d: a trace begins with a node", number+1)
		} else if err := w.play(words); err != nil {
			t.Fatalf("line %d: %q: %v", number+1, line, err)
		}
		w.flush(&out)
	}
	return out.Bytes()
}

// play makes one thing happen, in the life of what begins with
//
//	node period=1s strategy=headroom earlier=b,c   (peers in the table that an earlier run has left)
//
// and goes on with:
//
//	pass 2s                         time passes
//	starved 6s each 1.2s            time passes in which the process runs once in so long, and hears nothing
//	users cat=30 dog=5              from now on the node's users ask for so many requests/s
//	spoa hangs|works|restarts       (the first is what the SPOA does until it works)
//	haproxy reloads                 and has lost its servers, which are back 400 ms later
//	haproxy down b|up b             says so of b's server
//	gateway cat=10 dog=5            has these functions, with so many requests/s
//	haproxy sends b cat=served:5,lost:2,left:1    from now on this becomes of each second's calls to b (cat,async=: to its queue)
//	haproxy counts cat=9 failed=3   so many calls more have ended, and failed (first counts cat=0)
//	gateway cat=10,idle             none of its replicas is ready
//	gateway cat=10 async            it takes asynchronous calls, too
//	gateway fails
//	b announces cat=20              once (cat=20,backup: as a backup); more words: users=cat=5 at=127.0.0.9 clock=1h epoch=2 seq=7 async
//	b is there with cat=20          and says so every second; the same words
//	b falls silent
//	b leaves                        and says so
//	clock 1h                        this machine's clock is now that much ahead of the time that passes
//	leave                           the controller is asked to stop
func (w *world) play(words []string) error {
	switch words[0] {
	case "pass":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			return err
		}
		w.pass(d)
	case "starved":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			return err
		}
		once, err := time.ParseDuration(words[3])
		if err != nil {
			return err
		}
		w.starve(d, once)
	case "users":
		return w.setUsers(words[1:])
	case "spoa":
		return w.spoaDoes(words[1])
	case "haproxy":
		return w.haproxyDoes(words[1:])
	case "gateway":
		return w.gatewayDoes(words[1:])
	case "clock":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			return err
		}
		w.wall = d
		w.step(ClockSet{Wall: d})
	case "leave":
		w.step(Leave{})
	default:
		return w.peerDoes(words[0], words[1:])
	}
	return nil
}
