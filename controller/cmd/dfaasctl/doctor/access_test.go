package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadable(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("gives files to others, which only root may")
	}
	dir := filepath.Join(t.TempDir(), "etc")
	file := filepath.Join(dir, "secret")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	const uid, gid = 54321, 54322
	user := who{name: "somebody", group: "some", uid: uid, groups: []int{gid}}
	for _, c := range []struct {
		name            string
		uid, gid        int
		mode, dirMode   os.FileMode
		who             who
		finding, remedy string
	}{
		{"root's", 0, 0, 0o600, 0o755, user, "somebody may not read " + file + " (owner root, mode 0600)", "chown somebody: " + file},
		{"its own", uid, 0, 0o600, 0o755, user, "", ""},
		{"its own, write only", uid, gid, 0o244, 0o755, user, "may not read", "chown"},
		{"its group's", 0, gid, 0o640, 0o755, user, "", ""},
		{"everybody's", 0, 0, 0o644, 0o755, user, "", ""},
		{"in a directory of root's", uid, gid, 0o600, 0o700, user, "somebody may not enter " + dir, "chgrp some " + dir},
		{"root", uid, gid, 0o600, 0o700, who{name: "root"}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.Chown(file, c.uid, c.gid); err != nil {
				t.Fatal(err)
			}
			for path, mode := range map[string]os.FileMode{file: c.mode, dir: c.dirMode} {
				if err := os.Chmod(path, mode); err != nil {
					t.Fatal(err)
				}
			}
			for _, path := range []string{file, link} {
				err := c.who.readable(path)
				d, is := denied(err)
				switch {
				case c.finding == "" && err != nil, c.finding != "" && !is:
					t.Errorf("%s: got %v", path, err)
				case is && (!strings.Contains(d.Error(), c.finding) || !strings.Contains(d.hint(), c.remedy)):
					t.Errorf("%s: got %q, %q", path, d, d.hint())
				}
			}
		})
	}
	if _, is := denied(user.readable(filepath.Join(dir, "none"))); is {
		t.Error("what is not there is denied")
	}
}
