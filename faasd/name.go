// Package faasd is a client for the REST API of OpenFaaS gateways and
// providers: faasd, OpenFaaS on Kubernetes, or the embedded provider of the
// package faasd/provider.
package faasd

import (
	"fmt"
	"strings"
)

// DefaultNamespace is where OpenFaaS and faasd keep functions deployed without
// a namespace. It is the same in a whole federation: names mean the same at every
// node.
const DefaultNamespace = "openfaas-fn"

// MaxLabelLen is the longest function name and the longest namespace, in bytes:
// both are DNS labels.
const MaxLabelLen = 63

// Name is how DFaaS calls a function: the bare name when it lives in the
// default namespace, NAME.NAMESPACE otherwise.
func Name(function, namespace string) string {
	if namespace == "" || namespace == DefaultNamespace {
		return function
	}
	return function + "." + namespace
}

// SplitName undoes Name. Whatever follows the first dot is the namespace; without
// a dot it is byDefault.
func SplitName(name, byDefault string) (function, namespace string) {
	function, namespace, found := strings.Cut(name, ".")
	if !found {
		return function, byDefault
	}
	return function, namespace
}

// ValidLabel reports whether s can name a function or a namespace: a DNS label
// of lower-case letters, digits and inner dashes.
func ValidLabel(s string) bool {
	if s == "" || len(s) > MaxLabelLen || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// CheckLabel is ValidLabel with an error that says what is wrong; what names the
// thing ("function name", "namespace").
func CheckLabel(what, s string) error {
	if ValidLabel(s) {
		return nil
	}
	const most = 80
	if len(s) > most {
		s = s[:most] + "..."
	}
	return fmt.Errorf("%s %q is not valid: use 1 to %d lower-case letters, digits and inner dashes", what, s, MaxLabelLen)
}
