package identity

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/rs/zerolog"
)

func TestFirstStartMakesAnIdentity(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lib", "dfaas", "identity.key")
	made, err := LoadOrCreate(path)
	if err != nil {
		t.Fatal(err)
	}
	checkMode(t, path, 0o600)
	checkMode(t, filepath.Dir(path), fs.ModeDir|0o700)
	again, err := LoadOrCreate(path)
	if err != nil {
		t.Fatal(err)
	}
	if made.ID() != again.ID() {
		t.Errorf("identity changed from %v to %v", made, again)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func checkMode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != want {
		t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
	}
}

func TestManyFirstStartsMakeOneIdentity(t *testing.T) {
	path := filepath.Join(t.TempDir(), "identity.key")
	ids := make([]string, 8)
	var wait sync.WaitGroup
	for i := range ids {
		wait.Go(func() {
			id, err := LoadOrCreate(path)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = id.String()
		})
	}
	wait.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("different identities: %v", ids)
		}
	}
}

func TestUnsafeFilesAreRefused(t *testing.T) {
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o660, 0o644, 0o620, 0o601} {
		path := filepath.Join(t.TempDir(), "identity.key")
		if _, err := LoadOrCreate(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := LoadOrCreate(path)
		if err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	for _, mode := range []fs.FileMode{0o600, 0o400} {
		path := filepath.Join(t.TempDir(), "identity.key")
		if _, err := LoadOrCreate(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadOrCreate(path); err != nil {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
}

func TestOtherFilesAreRefusedAndKept(t *testing.T) {
	rsa, _, err := crypto.GenerateRSAKeyPair(2048, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := crypto.MarshalPrivateKey(rsa)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"empty":       {},
		"text":        []byte("secret words"),
		"too large":   bytes.Repeat([]byte{0}, maxSecret+1),
		"another key": rsaKey,
		"swarm key":   NewFederationKey(),
	} {
		path := filepath.Join(t.TempDir(), "identity.key")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadOrCreate(path); err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "secret words") {
			t.Errorf("%s: the error quotes the file: %v", name, err)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(after, content) {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

func TestNotAFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadOrCreate(dir); err == nil {
		t.Error("a directory was accepted")
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreate(fifo); err == nil || !strings.Contains(err.Error(), "regular") {
		t.Errorf("FIFO: %v", err)
	}
	if _, err := Load(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestNothingPrintsTheKey(t *testing.T) {
	id, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	log := zerolog.New(&out)
	log.Info().Interface("id", id).Any("id", *id).Stringer("id", id).Msg("")
	fmt.Fprintf(&out, "%v %+v %#v %s %q %x %d %v %+v", id, id, id, id, id, id, id, []any{id}, struct{ I Identity }{*id})
	seed := id.Ed25519().Seed()
	for _, form := range []string{string(seed), hex.EncodeToString(seed), fmt.Sprint(seed[:8])[1:20]} {
		if strings.Contains(out.String(), form) {
			t.Fatalf("the key is printed as %q in %s", form, out.String())
		}
	}
}

func TestFederationKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etc", "federation.key")
	if err := CreateFederationKey(path); err != nil {
		t.Fatal(err)
	}
	checkMode(t, path, 0o600)
	first, err := LoadFederationKey(path)
	if err != nil || len(first) != keySize {
		t.Fatalf("%d bytes, %v", len(first), err)
	}
	if err := CreateFederationKey(path); err == nil || !strings.Contains(err.Error(), "never overwritten") {
		t.Errorf("second key: %v", err)
	}
	if again, err := LoadFederationKey(path); err != nil || !bytes.Equal(first, again) {
		t.Errorf("the key changed: %v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadFederationKey(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("world-readable: %v", err)
	}
}

func TestFederationKeyFiles(t *testing.T) {
	good := string(NewFederationKey())
	for name, test := range map[string]struct {
		content string
		ok      bool
	}{
		"good":       {good, true},
		"CRLF":       {strings.ReplaceAll(good, "\n", "\r\n"), true},
		"no newline": {strings.TrimSpace(good), true},
		"empty":      {"", false},
		"no header":  {"my-password\n", false},
		"short":      {good[:len(good)-10], false},
		"not hex":    {strings.Replace(good, "/base16/\n", "/base16/\nzz", 1), false},
	} {
		path := filepath.Join(t.TempDir(), "federation.key")
		if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadFederationKey(path)
		if (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "my-password") {
			t.Errorf("%s: the error quotes the file: %v", name, err)
		}
	}
}

// FuzzFederationKey: a file either holds a key, or is refused without a word of
// what is in it.
func FuzzFederationKey(f *testing.F) {
	f.Add(NewFederationKey())
	f.Add([]byte(keyHeader))
	f.Add([]byte("/key/swarm/psk/1.0.0/\n/bin/\nsecret secret secret secret secre"))
	f.Add([]byte("secret\n"))
	path := filepath.Join(f.TempDir(), "key")
	load := func(t testing.TB, data []byte) (int, error) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		psk, err := LoadFederationKey(path)
		return len(psk), err
	}
	_, none := load(f, nil)
	f.Fuzz(func(t *testing.T, data []byte) {
		size, err := load(t, data)
		switch {
		case err == nil && size != keySize:
			t.Errorf("a key of %d bytes", size)
		case err != nil && len(data) <= maxSecret && err.Error() != none.Error():
			t.Errorf("what is said depends on what is in the file: %q", err)
		}
	})
}
