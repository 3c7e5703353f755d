package haproxy

import (
	"crypto/ed25519"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/dfaas/dfaas/haproxy/peercert"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// FuzzCertificateAnswers reads what HAProxy may say of its certificates: only the
// number of this node's own passes, and every complaint is a line.
func FuzzCertificateAnswers(f *testing.F) {
	own := peercert.Certificate{ID: "12D3KooWD3bfmNbuuuVGDMJd6Q4bSUKkpRuGDjZUmYNiFTkeGmkA", Serial: big.NewInt(0x4af0), Expires: time.Now().AddDate(1, 0, 0)}
	const head = "Filename: /t/node.pem\nStatus: Used\n"
	for _, answer := range []string{
		head + "Serial: 4AF0\nnotBefore: Jan  1 00:00:00 1970 GMT\nnotAfter: Nov 28 10:00:00 2030 GMT\nIssuer: /CN=" + own.ID + "\n",
		head + "Serial: 4AF1\nnotAfter: Nov 28 10:00:00 2030 GMT\nIssuer: /CN=" + own.ID + "\n",
		head + "Serial: 4AF1\nnotAfter: Nov 28 10:00:00 2020 GMT\nIssuer: /CN=" + own.ID + "\n",
		head + "Serial: 4AF1\nnotAfter: soon\nIssuer: /CN=" + own.ID + "\n", head + "Serial: 4AF0\nSerial: 4AF0\n", "Unknown command.\n", "",
	} {
		f.Add(answer)
	}
	client, err := NewTLS(testvalue.Path("/run/haproxy.sock"), "/t")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		shown := serials(answer)
		if len(shown) > strings.Count(answer, "Serial: ") || !same(shown, shown) {
			t.Errorf("%d numbers in %q", len(shown), answer)
		}
		for _, n := range shown {
			if n.Sign() < 0 {
				t.Errorf("a number below 0 in %q", answer)
			}
		}
		err := client.checkShown(answer, own)
		right := len(shown) == 1 && shown[0].Cmp(own.Serial) == 0
		if right && err != nil {
			t.Errorf("this node's own is refused: %v", err)
		}
		if err == nil && !right {
			// Another one of this node that can be used for long.
			end, err := expiry(answer)
			if err != nil || time.Until(end) < renewBefore-time.Minute || !strings.Contains(answer, "\nIssuer: /CN="+own.ID+"\n") {
				t.Errorf("passes: %q", answer)
			}
		}
		if err != nil && (len(err.Error()) > 600 || strings.ContainsAny(err.Error(), "\n\r\x00")) {
			t.Errorf("%d bytes: %q", len(err.Error()), err)
		}
	})
}

// FuzzParts: cutting anchors into commands loses none and keeps their order.
func FuzzParts(f *testing.F) {
	anchor, err := peercert.Anchor("x", make(ed25519.PublicKey, ed25519.PublicKeySize))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(strings.Repeat(anchor+"|", 40), 16384-512)
	f.Add("||a|", 0)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		blocks := strings.Split(text, "|")
		var all []string
		for part := range parts(blocks, limit) {
			if size := len(strings.Join(part, "")); len(part) == 0 || len(part) > 1 && size > limit {
				t.Errorf("%d blocks of %d bytes, limit %d", len(part), size, limit)
			}
			all = append(all, part...)
		}
		if strings.Join(all, "|") != text || len(all) != len(blocks) {
			t.Errorf("%d of %d blocks", len(all), len(blocks))
		}
	})
}
