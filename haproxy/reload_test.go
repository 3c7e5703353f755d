package haproxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/dfaas/dfaas/haproxy/haproxytest"
)

// A request may be on its way over a connection that is kept open when HAProxy
// is reloaded: it is answered.
func TestReloadLosesNoRequestOnItsWay(t *testing.T) {
	t.Parallel()
	n := startNode(t, haproxytest.Installed, idA)
	conn, err := net.Dial("tcp", n.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(conn)
	get := func() *http.Response {
		t.Helper()
		if _, err := fmt.Fprintf(conn, "GET /function/funca HTTP/1.1\r\nHost: %s\r\n\r\n", n.Addr); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.Fatal(err)
		}
		return response
	}
	if first := get(); first.StatusCode != http.StatusOK || first.Close {
		t.Fatalf("before the reload: %s, to be closed: %v", first.Status, first.Close)
	}
	n.Reload()
	if second := get(); second.StatusCode != http.StatusOK || !second.Close {
		t.Errorf("after the reload: %s, to be closed: %v; want 200 and the connection closed", second.Status, second.Close)
	}
}
