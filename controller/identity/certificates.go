package identity

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/peercert"
	"github.com/dfaas/dfaas/spoa/peerid"
)

// renewCertificate is the time left below which a certificate is made anew.
const renewCertificate = peercert.Lifetime / 2

// Certificates keeps what HAProxy needs for TLS between peers: this node's
// certificate and the anchors of its peers, in memory and in the files that
// HAProxy reads when it starts. It is owned by one goroutine.
type Certificates struct {
	id      *Identity
	dir     string
	own     peercert.Certificate
	anchors map[string]string // by peer id
	stored  map[string]string // file contents, by name
}

// NewCertificates returns the certificates of the identity, with their files in
// that directory.
func NewCertificates(id *Identity, dir string) *Certificates {
	return &Certificates{id: id, dir: dir, anchors: make(map[string]string), stored: make(map[string]string)}
}

// Prepare makes the files that HAProxy needs to start, if they are missing or
// not this identity's. It knows no peers, so it leaves those that are there.
func (c *Certificates) Prepare(now time.Time) error {
	if _, err := c.Own(now); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(c.dir, haproxy.AnchorsFile)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, err := c.Store(nil)
	return err
}

// Own returns this node's certificate. It is made anew, and written to its file,
// when less than half of its lifetime is left.
func (c *Certificates) Own(now time.Time) (peercert.Certificate, error) {
	if c.own.PEM == "" {
		// Whatever is wrong with the one in the file: a new one replaces it.
		if text, err := readSecret(filepath.Join(c.dir, haproxy.CertificateFile)); err == nil {
			c.own, _ = peercert.Parse(string(text), c.id.String(), c.id.Ed25519().Public().(ed25519.PublicKey))
		}
	}
	if c.own.PEM != "" && c.own.Expires.Sub(now) > renewCertificate {
		return c.own, nil
	}
	own, err := peercert.Issue(c.id.String(), c.id.Ed25519(), now)
	if err != nil {
		return peercert.Certificate{}, err
	}
	if err := c.write(haproxy.CertificateFile, own.PEM); err != nil {
		return c.own, err
	}
	c.own = own
	return own, nil
}

// Anchor returns what the peer's certificates have to be signed by.
func (c *Certificates) Anchor(peer string) (string, error) {
	if anchor, ok := c.anchors[peer]; ok {
		return anchor, nil
	}
	id, err := peerid.Parse(peer)
	if err != nil {
		return "", err
	}
	anchor, err := peercert.Anchor(peer, id.Key())
	if err != nil {
		return "", err
	}
	c.anchors[peer] = anchor
	return anchor, nil
}

// Store writes the anchors of these peers to their file, and returns them. This
// node's own is always among them, since HAProxy takes no empty file. Of other
// peers nothing is remembered any more.
func (c *Certificates) Store(peers []string) ([]string, error) {
	all := make([]string, 0, len(peers)+1)
	kept := make(map[string]string, len(peers)+1)
	for _, peer := range append([]string{c.id.String()}, peers...) {
		anchor, err := c.Anchor(peer)
		if err != nil {
			return nil, err
		}
		all, kept[peer] = append(all, anchor), anchor
	}
	c.anchors = kept
	return all, c.write(haproxy.AnchorsFile, strings.Join(all, ""))
}

// write replaces a file, unless it has that content.
func (c *Certificates) write(name, text string) error {
	if c.stored[name] == text {
		return nil
	}
	if err := replaceSecret(filepath.Join(c.dir, name), []byte(text)); err != nil {
		return fmt.Errorf("writing the certificates for HAProxy: %w", err)
	}
	c.stored[name] = text
	return nil
}
