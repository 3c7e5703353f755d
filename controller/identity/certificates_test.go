package identity

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/peercert"
)

func generate(t *testing.T) *Identity {
	t.Helper()
	id, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("%s has mode %04o", path, mode)
	}
	return string(text)
}

func TestCertificatesAreKeptAndRenewed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	file := filepath.Join(dir, haproxy.CertificateFile)
	id, now := generate(t), time.Now()
	own := func(id *Identity, at time.Time) peercert.Certificate {
		t.Helper()
		c, err := NewCertificates(id, dir).Own(at)
		if err != nil {
			t.Fatal(err)
		}
		if c.PEM != read(t, file) {
			t.Error("the file has another certificate")
		}
		return c
	}
	first := own(id, now)
	if own(id, now.Add(peercert.Lifetime/2-time.Hour)).PEM != first.PEM {
		t.Error("a certificate with half of its time left was not kept over a restart")
	}
	late := now.Add(peercert.Lifetime/2 + time.Hour)
	second := own(id, late)
	if second.PEM == first.PEM || second.Expires.Sub(late) < peercert.Lifetime-time.Hour {
		t.Errorf("not renewed: %v", second.Expires)
	}
	if own(generate(t), late).PEM == second.PEM {
		t.Error("another identity uses the certificate of this one")
	}
	if err := os.WriteFile(file, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	own(id, now)
	running := NewCertificates(id, dir)
	for _, at := range []time.Time{now, late} {
		if _, err := running.Own(at); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := running.Own(late); err != nil || c.Expires.Sub(late) < peercert.Lifetime-time.Hour {
		t.Errorf("not renewed while it runs: %v, %v", c.Expires, err)
	}
}

func TestAnchorsAreStored(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, haproxy.AnchorsFile)
	id, peer, other := generate(t), generate(t).String(), generate(t).String()
	c := NewCertificates(id, dir)
	if err := c.Prepare(time.Now()); err != nil {
		t.Fatal(err)
	}
	alone := read(t, file)
	all, err := c.Store([]string{peer, other})
	if err != nil || len(all) != 3 || all[0] != alone || strings.Join(all, "") != read(t, file) {
		t.Fatalf("%d anchors, %v", len(all), err)
	}
	// After a restart the peers of before may still come in, until others are known.
	if err := NewCertificates(id, dir).Prepare(time.Now()); err != nil || read(t, file) != strings.Join(all, "") {
		t.Errorf("a restart has changed the file: %v", err)
	}
	// The key of a peer is in its id, so another node makes the same of it.
	same, err := NewCertificates(generate(t), t.TempDir()).Store([]string{peer})
	if err != nil || same[1] != all[1] {
		t.Errorf("anchors of one peer differ: %v", err)
	}
	if all, err = c.Store(nil); err != nil || len(all) != 1 || read(t, file) != alone {
		t.Errorf("%d anchors, %v", len(all), err)
	}
	if _, err := c.Store([]string{"12D3KooW; show info"}); err == nil || read(t, file) != alone {
		t.Errorf("no peer id: %v", err)
	}
}

// A disk that is full keeps nobody out who is let in at run time.
func TestAnchorsWithoutADisk(t *testing.T) {
	dir := t.TempDir()
	c := NewCertificates(generate(t), dir)
	if err := c.Prepare(time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, haproxy.AnchorsFile)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, haproxy.AnchorsFile), 0o700); err != nil {
		t.Fatal(err)
	}
	all, err := c.Store([]string{generate(t).String()})
	if err == nil || len(all) != 2 {
		t.Errorf("%d anchors, %v", len(all), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// FuzzCertificateFile: whatever is in the file, this node gets a certificate of its
// own that can be used for long, and the next start finds it.
func FuzzCertificateFile(f *testing.F) {
	id, err := Generate()
	if err != nil {
		f.Fatal(err)
	}
	stranger, err := Generate()
	if err != nil {
		f.Fatal(err)
	}
	now := time.Now()
	for _, who := range []*Identity{id, stranger} {
		c, err := peercert.Issue(who.String(), who.Ed25519(), now)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(c.PEM)
		f.Add(c.PEM[:len(c.PEM)/2])
	}
	old, err := peercert.Issue(id.String(), id.Ed25519(), now.Add(-peercert.Lifetime))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(old.PEM)
	f.Add("")
	dir := f.TempDir()
	file := filepath.Join(dir, haproxy.CertificateFile)
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := NewCertificates(id, dir).Own(now)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := peercert.Parse(read(t, file), id.String(), id.Ed25519().Public().(ed25519.PublicKey))
		if err != nil || parsed.Serial.Cmp(got.Serial) != 0 || got.Expires.Sub(now) <= renewCertificate {
			t.Fatalf("%+v, in the file %+v, %v", got, parsed, err)
		}
		again, err := NewCertificates(id, dir).Own(now)
		if err != nil || again.PEM != got.PEM {
			t.Errorf("the next start makes another one: %v", err)
		}
	})
}
