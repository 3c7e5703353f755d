package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/http/httpguts"
)

// How results are delivered. A user chose the address.
const (
	maxCallback     = 2048 // bytes of the URL
	callbackTimeout = 20 * time.Second
	connectTimeout  = 5 * time.Second
	callbackTries   = 5
	callbackMinWait = 10 * time.Second
	callbackMaxWait = 2 * time.Minute
)

// Header fields that tell a callback what it is about, as OpenFaaS' queue-worker
// sets them.
const (
	HeaderCallID   = "X-Call-Id"
	HeaderName     = "X-Function-Name"
	HeaderStatus   = "X-Function-Status"
	HeaderDuration = "X-Duration-Seconds"
)

// errAddress is that an address may not be called back.
var errAddress = errors.New("callbacks do not go to loopback, private and other special addresses, nor to this machine, unless --callback-allow names them")

// CheckCallback refuses what cannot be called back, whoever asks: anything but an
// absolute http or https URL with a host, and without a user and password.
func CheckCallback(text string) error {
	u, err := url.Parse(text)
	switch {
	case len(text) > maxCallback:
		return fmt.Errorf("a callback's URL has at most %d bytes", maxCallback)
	case err != nil || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return errors.New("the callback is not a URL")
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
		return errors.New("the callback is not a URL such as https://host/path")
	case u.User != nil:
		return errors.New("a callback's URL has no user and password")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return errors.New("the callback's port is none")
		}
	}
	return nil
}

// ParseNetwork reads a network in CIDR notation, or an address.
func ParseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%.60q is neither an address nor a network such as 10.1.0.0/16", text)
	}
	return p.Masked(), nil
}

// special are addresses that belong to nobody in particular, or to the networks that
// this machine is in. IPv6 beyond 2000::/3 is special as a whole.
var special = networks("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
	"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
	"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")

var global6 = netip.MustParsePrefix("2000::/3")

func networks(all ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range all {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// public reports whether an address is one of the Internet's.
func public(a netip.Addr) bool {
	a = a.Unmap()
	return !within(special, a) && (a.Is4() || global6.Contains(a))
}

func within(networks []netip.Prefix, a netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// messenger delivers results. It is safe for concurrent use.
type messenger struct {
	allowed []netip.Prefix // besides public addresses
	client  *http.Client
}

func newMessenger(allowed []netip.Prefix) *messenger {
	m := &messenger{allowed: allowed}
	m.client = &http.Client{
		Transport: &http.Transport{ // Proxy is unset: the environment's would be asked for any address
			DialContext:            m.dial,
			TLSHandshakeTimeout:    connectTimeout,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 64 << 10,
		},
		Timeout:       callbackTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return m
}

// dial connects to where callbacks may go. What is looked at is the address that is
// connected to, after names were looked up: a name may have another a moment later.
func (m *messenger) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{
		Timeout: connectTimeout,
		Control: func(_, address string, _ syscall.RawConn) error {
			if a, err := netip.ParseAddrPort(address); err != nil || !public(a.Addr()) && !within(m.allowed, a.Addr().Unmap()) {
				return errAddress
			}
			return nil
		},
	}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	// A public address may be this machine's own, with what listens there for this
	// machine only.
	if own, to := addrOf(conn.LocalAddr()), addrOf(conn.RemoteAddr()); own == to && !within(m.allowed, to) {
		conn.Close()
		return nil, errAddress
	}
	return conn, nil
}

func addrOf(a net.Addr) netip.Addr {
	ap, _ := netip.ParseAddrPort(a.String()) // the zero Addr is in no network
	return ap.Addr().Unmap()
}

// deliver posts a call's result. again tells that it was not taken and may be taken
// later.
func (m *messenger) deliver(ctx context.Context, r *record, body []byte) (again bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.Callback, bytes.NewReader(body))
	if err != nil {
		return false, fmt.Errorf("call back: %w", err)
	}
	request.Header = callbackHeader(r)
	response, err := m.client.Do(request)
	if err != nil {
		return !errors.Is(err, errAddress), fmt.Errorf("call back: %w", err)
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, 4<<10) // it is of no interest
	switch code := response.StatusCode; {
	case code < 300:
		return false, nil
	default:
		again = code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= 500
		return again, fmt.Errorf("call back: answered %s", response.Status)
	}
}

// callbackHeader is the function's, without what is for one hop only, and what the
// result is of.
func callbackHeader(r *record) http.Header {
	header := http.Header{}
	for name, values := range r.Result.Header {
		if httpguts.ValidHeaderFieldName(name) {
			for _, value := range values {
				if httpguts.ValidHeaderFieldValue(value) {
					header.Add(name, value)
				}
			}
		}
	}
	for _, name := range append(strings.Split(strings.Join(header["Connection"], ","), ","), hopByHop...) {
		header.Del(strings.TrimSpace(name))
	}
	if header.Get("User-Agent") == "" {
		header.Set("User-Agent", "dfaas-provider")
	}
	header.Set(HeaderCallID, r.ID)
	header.Set(HeaderName, r.Function)
	header.Set(HeaderStatus, strconv.Itoa(r.Result.Status))
	header.Set(HeaderDuration, strconv.FormatFloat(r.Result.Duration.Seconds(), 'f', 6, 64))
	return header
}

// hopByHop are the fields of an answer that do not belong to its content.
var hopByHop = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "Content-Length", "Expect", "Host", "Proxy"}
