package haproxy

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/dfaas/dfaas/haproxy/peercert"
)

// ErrTooManyPeers is wrapped by Secure's error when this HAProxy cannot be told
// of so many peers.
var ErrTooManyPeers = errors.New("too many peers for HAProxy's buffer")

// validDir is a path that can be part of a command, and is not taken to be
// relative to the operator's ca-base and crt-base.
var validDir = regexp.MustCompile(`^/[A-Za-z0-9._/-]*$`)

// Secure sees to it that the TLS port lets in those whose certificates the
// anchors, in PEM, have signed. It asks what HAProxy has and changes only what
// differs, so that it can be called often. The error also tells when HAProxy
// shows a certificate that cannot be used, or not much longer, instead of this
// node's own.
//
// That one is not replaced at run time: HAProxy up to 3.0 dies of a change of
// anchors that comes after one of the certificate that came after one of anchors.
func (c *Client) Secure(ctx context.Context, own peercert.Certificate, anchors []string) error {
	lets, shows, err := c.showTLS(ctx)
	if err != nil {
		return err
	}
	if err := c.setAnchors(ctx, c.tlsDir+"/"+AnchorsFile, lets, anchors); err != nil {
		return fmt.Errorf("the certificates of peers: %w", err)
	}
	return c.checkShown(shows, own)
}

// showTLS asks for the anchors that let peers in and for this node's certificate,
// over one connection, since this is asked several times a second.
func (c *Client) showTLS(ctx context.Context) (anchors, certificate string, err error) {
	file := c.tlsDir + "/" + CertificateFile
	answer, err := c.run(ctx, "show ssl ca-file "+c.tlsDir+"/"+AnchorsFile, "show ssl cert "+file)
	if err != nil {
		return "", "", c.explainTLS(err)
	}
	anchors, certificate, found := strings.Cut(answer, "\nFilename: "+file+"\n")
	if !found {
		return "", "", c.explainTLS(fmt.Errorf("HAProxy at %s does not show %s", c.socket, file))
	}
	return anchors, certificate, nil
}

// setAnchors gives HAProxy the anchors for a file in its memory, unless they are
// those that it has by its answer.
func (c *Client) setAnchors(ctx context.Context, file, answer string, anchors []string) error {
	want, err := peercert.Serials(strings.Join(anchors, ""))
	if err != nil {
		return err
	}
	if same(serials(answer), want) {
		return nil
	}
	return c.replaceAnchors(ctx, file, anchors)
}

// renewBefore is how long before its end a certificate is worth a warning.
const renewBefore = 30 * 24 * time.Hour

// checkShown looks at what HAProxy says of the certificate that it shows peers.
func (c *Client) checkShown(answer string, own peercert.Certificate) error {
	file := c.tlsDir + "/" + CertificateFile
	shown := serials(answer)
	if len(shown) == 1 && shown[0].Cmp(own.Serial) == 0 {
		return nil
	}
	const hint = "reload HAProxy (systemctl reload haproxy), which then reads"
	if !strings.Contains(answer, "\nIssuer: /CN="+own.ID+"\n") {
		return fmt.Errorf("HAProxy shows peers the certificate of another node: %s %s", hint, file)
	}
	end, err := expiry(answer)
	switch {
	case err != nil:
		return fmt.Errorf("HAProxy at %s: %w", c.socket, err)
	case time.Until(end) < renewBefore:
		return fmt.Errorf("the certificate that HAProxy shows peers ends on %s: %s the new one, %s", end.Format(time.DateOnly), hint, file)
	}
	return nil
}

var endLine = regexp.MustCompile(`(?m)^notAfter: (.+)$`)

// expiry reads when a certificate ends from what `show ssl cert` tells.
func expiry(answer string) (time.Time, error) {
	found := endLine.FindStringSubmatch(answer)
	if found == nil {
		return time.Time{}, fmt.Errorf("no end of the certificate in %.80q", answer)
	}
	return time.Parse("Jan _2 15:04:05 2006 MST", found[1])
}

// maxPayload is how much of a payload one command holds: HAProxy's buffer,
// unless tune.bufsize is set, less the longest command.
const maxPayload = 16384 - 512

// replaceAnchors gives HAProxy another content for a file in its memory. The
// connections that exist stay.
func (c *Client) replaceAnchors(ctx context.Context, file string, anchors []string) error {
	for _, anchor := range anchors {
		if !peercert.Canonical(anchor) {
			return errors.New("not a certificate in PEM")
		}
	}
	// What is left of an attempt that was broken off would get in the way.
	_ = c.do(ctx, command{text: "abort ssl ca-file " + file})
	err := c.do(ctx, payload("set", file, anchors...))
	if size := len(strings.Join(anchors, "")); err != nil && size > maxPayload && !unreachable(err) {
		if err = c.inParts(ctx, file, anchors); err != nil {
			err = fmt.Errorf("%w: %d certificates; set tune.bufsize in the global section to %d or more and restart it, "+
				"or use HAProxy 3.0 (%w)", ErrTooManyPeers, len(anchors), bufsizeFor(size), err)
		}
	}
	if err != nil {
		return err
	}
	return c.do(ctx, command{text: "commit ssl ca-file " + file, want: "Success!"})
}

// inParts is for what does not fit into one command. HAProxy 2.6 has no word for
// it.
func (c *Client) inParts(ctx context.Context, file string, anchors []string) error {
	_ = c.do(ctx, command{text: "abort ssl ca-file " + file})
	op := "set"
	for part := range parts(anchors, maxPayload) {
		if err := c.do(ctx, payload(op, file, part...)); err != nil {
			return err
		}
		op = "add"
	}
	return nil
}

// parts cuts the blocks into slices of at most so many bytes together.
func parts(blocks []string, limit int) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		begin, size := 0, 0
		for i, block := range blocks {
			if size+len(block) > limit && i > begin {
				if !yield(blocks[begin:i]) {
					return
				}
				begin, size = i, 0
			}
			size += len(block)
		}
		if begin < len(blocks) {
			yield(blocks[begin:])
		}
	}
}

// bufsizeFor is a power of two that leaves room for the command.
func bufsizeFor(payload int) int {
	size := 16384
	for size-512 < payload {
		size *= 2
	}
	return size
}

func payload(op, file string, anchors ...string) command {
	// It ends with an empty line.
	return command{text: op + " ssl ca-file " + file + " <<\n" + strings.Join(anchors, ""), want: "ransaction"}
}

// addAnchor gives HAProxy the anchor of a peer whose server is to be added, and
// returns the further words for the server.
func (c *Client) addAnchor(ctx context.Context, p Peer) (words string, err error) {
	if c.tlsDir == "" {
		return "", errors.New("this client is not set up for TLS")
	}
	file := anchorFile(p)
	if err := c.do(ctx, command{text: "new ssl ca-file " + file, unless: "already exists"}); err != nil {
		return "", err
	}
	// One that is left from before is as it should be, since it depends on the
	// peer's id only.
	answer, err := c.run(ctx, "show ssl ca-file "+file)
	if err != nil {
		return "", err
	}
	if err := c.setAnchors(ctx, file, answer, []string{p.Anchor}); err != nil {
		return "", err
	}
	words = " check-ssl ssl ssl-min-ver TLSv1.3 verify required ca-file " + file + " crt " + c.tlsDir + "/" + CertificateFile
	info, err := c.Info(ctx)
	if err != nil {
		return "", err
	}
	if info.atLeast(3, 3) {
		// Otherwise the name in the certificate would have to be that of the user's
		// Host header. Versions before do not do so, and do not know the words.
		words += " no-sni-auto no-check-sni-auto"
	}
	return words, nil
}

// unsecured returns what has to be done after a server was deleted.
func (c *Client) unsecured(p Peer) []command {
	if c.tlsDir == "" {
		return nil
	}
	// Its anchor takes some memory and does no harm, should it have to stay.
	return []command{{text: "del ssl ca-file " + anchorFile(p), unless: "Can't remove"}}
}

// anchorFile is the name, in HAProxy's memory, of the file with the peer's
// anchor. There is none on the disk.
func anchorFile(p Peer) string { return "/dfaas/" + p.ID }

var serialLine = regexp.MustCompile(`(?m)^Serial: ([0-9A-Fa-f]+)$`)

// serials reads the serial numbers from what `show ssl` tells. It is the only
// thing that HAProxy shows of every certificate: it stops at a key of Ed25519.
func serials(answer string) []*big.Int {
	var numbers []*big.Int
	for _, found := range serialLine.FindAllStringSubmatch(answer, -1) {
		if n, ok := new(big.Int).SetString(found[1], 16); ok {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// same reports whether both are the same numbers, in whatever order.
func same(a, b []*big.Int) bool {
	order := func(x, y *big.Int) int { return x.Cmp(y) }
	return slices.EqualFunc(slices.SortedFunc(slices.Values(a), order), slices.SortedFunc(slices.Values(b), order),
		func(x, y *big.Int) bool { return x.Cmp(y) == 0 })
}

// explainTLS adds the hint to the error for a file that HAProxy has not read.
func (c *Client) explainTLS(err error) error {
	if unreachable(err) {
		return err
	}
	return fmt.Errorf("%w; HAProxy has no TLS port for peers: set DFAAS_TLS_BIND, and DFAAS_TLS_DIR=%s, and restart it", err, c.tlsDir)
}
