package wire

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dfaas/dfaas/internal/testvalue"
)

// A node's name goes with every part of an announcement, in the form of version 2;
// members of the first release never see it.
func TestNodeNames(t *testing.T) {
	testvalue.SkipPrevious(t, "it reads JSON only")
	label63 := strings.Repeat("a", 63)
	for name, reason := range map[string]string{
		"": "", "edge-3": "", "0": "", label63: "",
		label63 + "a": "node name", "-edge": "node name", "edge-": "node name", "Edge": "node name", "edge.3": "node name", "a b": "node name",
		"é": "node name", "edge\x1b[2J": "node name", "a\nb": "node name", `a"b`: "node name",
	} {
		a := valid()
		a.Name = name
		messages, _, err := Split(a)
		checkReason(t, err, reason)
		written := compact(a)
		got, err := Decode(written)
		checkReason(t, err, reason)
		if reason != "" {
			continue
		}
		if got.Name != name || got.Unknown != 0 {
			t.Errorf("%q is read as %q, %d fields unknown", name, got.Name, got.Unknown)
		}
		if got, err := Decode(messages[0]); err != nil || got.Name != name {
			t.Errorf("%q is sent as %q, %v", name, got.Name, err)
		}
		old, _, err := Encode(a)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readByD972c02(old); err != nil {
			t.Errorf("%q: the first release refuses it: %v", name, err)
		}
	}
}

// That a node takes asynchronous calls goes the same way.
func TestAsyncIsAnnounced(t *testing.T) {
	testvalue.SkipPrevious(t, "it reads JSON only")
	a := valid()
	a.Async = true
	messages, _, err := Split(a)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Decode(messages[0]); err != nil || !got.Async || got.Unknown != 0 {
		t.Errorf("read as %+v, %v", got, err)
	}
	old, _, err := Encode(a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readByD972c02(old); err != nil {
		t.Errorf("the first release refuses it: %v", err)
	}
	written := compact(valid())
	if _, err := Decode(appendText(written, fieldAsync, "yes")); err == nil {
		t.Error("a text is taken for it")
	}
}

// Whoever is newer may have names that are none here.
func TestNodeNamesOfNewer(t *testing.T) {
	testvalue.SkipPrevious(t, "it reads JSON only")
	a := valid()
	rest := append(a.appendHead(nil, 0, 1), appendOffers(a.Offers, 1<<30)[0]...)
	_, _, n := protowire.ConsumeField(rest)
	newer := append(appendInt(nil, fieldVersion, Version+1), rest[n:]...)
	got, err := Decode(appendText(newer, fieldName, "Edge 3"))
	if err != nil || got.Name != "" || got.Unknown != 1 || len(got.Offers) != len(a.Offers) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestNodeNameOfHost(t *testing.T) {
	for host, want := range map[string]string{
		"edge-3": "edge-3", "Edge_3.example.com": "edge-3", "": "", "..": "", "-x-": "x", "münster": "m-nster",
		strings.Repeat("h", 70): strings.Repeat("h", 63), strings.Repeat("h", 62) + "-x": strings.Repeat("h", 62),
	} {
		got := NodeName(host)
		if got != want || got != "" && CheckNodeName(got) != nil {
			t.Errorf("host %q: %q, want %q", host, got, want)
		}
	}
}
