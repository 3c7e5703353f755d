package listeners

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	for bind, want := range map[string][]string{
		":8081":                     {"0.0.0.0:8081"},
		"*:8081":                    {"0.0.0.0:8081"},
		"127.0.0.1:80,[::1]:80":     {"127.0.0.1:80", "[::1]:80"},
		":::8081":                   {"[::]:8081"},
		"[2001:db8::1]:8081":        {"[2001:db8::1]:8081"},
		"2001:db8::1:8081":          {"[2001:db8::1]:8081"},
		"ipv6@:8081":                {"[::]:8081"},
		"ipv4@10.0.0.1:80-82":       {"10.0.0.1:80", "10.0.0.1:81", "10.0.0.1:82"},
		"unix@/run/x.sock,/run/y":   nil,
		"fd@3":                      nil,
		"abns@dfaas-fallback-0":     {"abns@dfaas-fallback-0"},
		"localhost:8081":            {"127.0.0.1:8081"},
		"8081":                      {"error"},
		":http":                     {"error"},
		":0":                        {"error"},
		":90-80":                    {"error"},
		":1-65535":                  {"error"},
		"nobody.invalid:80":         {"error"},
		"":                          {"error"},
		":99999":                    {"error"},
		"127.0.0.1:80,127.0.0.1:xx": {"error"},
	} {
		got, err := Parse(t.Context(), bind)
		var text []string
		for _, a := range got {
			text = append(text, a.String())
		}
		if err != nil {
			text = []string{"error"}
		}
		if bind == "localhost:8081" && len(text) == 1 && text[0] == "[::1]:8081" {
			continue // as this machine's resolver has it
		}
		if !slices.Equal(text, want) {
			t.Errorf("%q: %v (%v), want %v", bind, text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{":8081", "ipv6@[::]:1-3", "a,b", "abns@x", "/x", "@", ":-"} {
		f.Add(seed)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // no names are looked up
	f.Fuzz(func(t *testing.T, bind string) {
		addresses, err := Parse(ctx, bind)
		if len(addresses) > maxAddresses || err != nil && addresses != nil {
			t.Errorf("%q: %d addresses, %v", bind, len(addresses), err)
		}
		for _, a := range addresses {
			if a.Abstract == "" && (!a.IsValid() || a.Port() == 0) && bind[0] != 'a' {
				t.Errorf("%q: %v", bind, a)
			}
		}
	})
}

func TestOverlaps(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"0.0.0.0:80", "127.0.0.1:80", true},
		{"127.0.0.1:80", "0.0.0.0:80", true},
		{"127.0.0.1:80", "127.0.0.2:80", false},
		{"127.0.0.1:80", "127.0.0.1:81", false},
		{"0.0.0.0:80", "[::]:80", true},
		{"127.0.0.1:80", "[::]:80", true},
		{"[::1]:80", "0.0.0.0:80", false},
		{"[::ffff:127.0.0.1]:80", "127.0.0.1:80", true},
	} {
		a, b := Address{AddrPort: netip.MustParseAddrPort(c.a)}, Address{AddrPort: netip.MustParseAddrPort(c.b)}
		if a.Overlaps(b) != c.want {
			t.Errorf("%s and %s: %v", a, b, !c.want)
		}
	}
	if x := (Address{Abstract: "x"}); !x.Overlaps(Address{Abstract: "x"}) || x.Overlaps(Address{Abstract: "y"}) || x.Overlaps(Address{}) {
		t.Error("abstract sockets")
	}
}

// TestTaken finds this very process on real sockets.
func TestTaken(t *testing.T) {
	abstract := fmt.Sprintf("dfaas-test-%d", os.Getpid())
	for _, c := range []struct{ network, listen, look string }{
		{"tcp4", "127.0.0.1:0", "127.0.0.1:%d"},
		{"tcp4", "127.0.0.1:0", "0.0.0.0:%d"},
		{"tcp", "[::]:0", "0.0.0.0:%d"},
		{"unix", "", ""},
	} {
		if c.network == "unix" {
			c.listen = padded(abstract)
		}
		l, err := net.Listen(c.network, c.listen)
		if err != nil {
			t.Fatal(err)
		}
		address := Address{Abstract: abstract}
		if tcp, ok := l.Addr().(*net.TCPAddr); ok {
			address = Address{AddrPort: netip.MustParseAddrPort(fmt.Sprintf(c.look, tcp.Port))}
		}
		if err := Try(address); !errors.Is(err, ErrTaken) {
			t.Errorf("%s: %v", address, err)
		}
		holders, err := At(address)
		if err != nil || holders.Unseen || len(holders.Processes) != 1 || holders.Processes[0].PID != os.Getpid() || holders.Processes[0].Parent != os.Getppid() {
			t.Errorf("%s: %+v, %v", address, holders, err)
		}
		if free, ok := Free(address); address.Abstract == "" && (!ok || Try(free) != nil) {
			t.Errorf("%s: next to it %s is not free", address, free)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := Try(address); err != nil {
			t.Errorf("%s after it was closed: %v", address, err)
		}
		if holders, err := At(address); err != nil || len(holders.Processes) != 0 {
			t.Errorf("%s after it was closed: %+v, %v", address, holders, err)
		}
	}
	if err := Try(Address{AddrPort: netip.MustParseAddrPort("192.0.2.77:8081")}); !errors.Is(err, ErrElsewhere) {
		t.Errorf("an address of nobody: %v", err)
	}
}
