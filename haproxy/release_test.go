package haproxy

import (
	"strings"
	"testing"
)

func TestRelease(t *testing.T) {
	for said, want := range map[string]string{
		"HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\nStatus: long-term": "2.6.12-1+deb12u4",
		"HA-Proxy version 2.2.9-2+deb11u6 2023/08/22":                                           "2.2.9-2+deb11u6",
		"HAProxy version 3.5-dev5":                                                              "3.5-dev5",
		"HAProxy version ":                                                                      "",
		"usage: something else":                                                                 "",
		"":                                                                                      "",
	} {
		got, err := Release(t.Context(), "/bin/sh", "-c", `test "$1" = -v && printf %s "$0"`, said)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v, want %q", said, got, err, want)
		}
	}
	for _, program := range []string{"/nonexistent", "/bin/false"} {
		if got, err := Release(t.Context(), program); err == nil || !strings.Contains(err.Error(), program) {
			t.Errorf("%s: %q, %v", program, got, err)
		}
	}
}
