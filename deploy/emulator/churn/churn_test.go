package churn_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/identity"
	"github.com/dfaas/dfaas/controller/overlay"
	"github.com/dfaas/dfaas/deploy/emulator/churn"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/haproxy/peercert"
	"github.com/dfaas/dfaas/spoa/peerid"
)

// TestServe: a guest is a member that announces its function, and its server shows
// the certificate that its id promises, also after it has left.
func TestServe(t *testing.T) {
	key := filepath.Join(t.TempDir(), "federation.key")
	if err := identity.CreateFederationKey(key); err != nil {
		t.Fatal(err)
	}
	psk, err := identity.LoadFederationKey(key)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	member, err := overlay.New(t.Context(), overlay.Config{
		Federation: federation.Name, Identity: id, PSK: psk, Listen: []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/0")}, Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer member.Close()

	var in, out bytes.Buffer
	encoder := json.NewEncoder(&in)
	visit := churn.Visit{Function: "echo", Capacity: 7, Life: 3 * time.Second, Polite: true}
	for _, v := range []any{churn.Options{Host: "127.0.0.1", Key: key, Bootstrap: member.Addrs(), TLS: true}, visit} {
		if err := encoder.Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- churn.Serve(t.Context(), &in, &out) }()

	deadline := time.After(20 * time.Second)
	for left := false; !left; {
		select {
		case m := <-member.Messages():
			a := m.Announcement
			if len(a.Offers) != 1 || a.Offers[0].Name.String() != "echo" || a.Offers[0].Capacity.PerSecond() != 7 || !a.TLS {
				t.Fatalf("%+v", a)
			}
			shows(t, m.From.String(), a.HTTP)
			left = a.Leaving
		case <-deadline:
			t.Fatal("no guest has come, or none has left")
		}
	}
	if err := <-ended; err != nil || strings.TrimSpace(out.String()) != "{}" {
		t.Errorf("%v, %q", err, out.String())
	}
}

// shows connects to a guest's server as its peers do.
func shows(t *testing.T, peer, address string) {
	t.Helper()
	id, err := peerid.Parse(peer)
	if err != nil {
		t.Fatal(err)
	}
	anchor, err := peercert.Anchor(peer, id.Key())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(anchor))
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", address, &tls.Config{RootCAs: roots, ServerName: peer})
	if err != nil {
		t.Errorf("the guest at %s: %v", address, err)
		return
	}
	conn.Close()
}

func TestServeRefuses(t *testing.T) {
	for name, text := range map[string]string{"nothing": "", "no JSON": "x", "no key": `{"host":"127.0.0.1","key":"/nowhere"}`} {
		if err := churn.Serve(t.Context(), strings.NewReader(text), &bytes.Buffer{}); err == nil {
			t.Errorf("%s: served", name)
		}
	}
}
