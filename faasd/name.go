// Package faasd is a client for the REST API of OpenFaaS gateways and
// providers: faasd, OpenFaaS on Kubernetes, or the embedded provider of the
// package faasd/provider.
package faasd

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dfaas/dfaas/internal/funcname"
)

// DefaultNamespace is where OpenFaaS and faasd keep functions deployed without
// a namespace. It is the same in a whole federation: names mean the same at every
// node.
const DefaultNamespace = "openfaas-fn"

// Name is how DFaaS calls a function: the bare name when it lives in the
// default namespace, NAME.NAMESPACE otherwise.
func Name(function, namespace string) string {
	if namespace == "" || namespace == DefaultNamespace {
		return function
	}
	return function + "." + namespace
}

// parseName is Name of what a gateway lists.
func parseName(function, namespace string) (funcname.Name, error) {
	if err := errors.Join(CheckLabel("function name", function), CheckLabel("namespace", namespace)); err != nil {
		return funcname.Name{}, err
	}
	return funcname.Parse(Name(function, namespace))
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

// ValidLabel reports whether s can name a function or a namespace.
func ValidLabel(s string) bool { return funcname.ValidLabel(s) }

// CheckLabel refuses what can name neither a function nor a namespace; what names
// the thing ("function name", "namespace").
func CheckLabel(what, s string) error {
	if ValidLabel(s) {
		return nil
	}
	const most = 80
	if len(s) > most {
		s = s[:most] + "..."
	}
	return fmt.Errorf("%s %q is not valid: use 1 to %d letters, digits, _ and inner dashes", what, s, funcname.MaxLabel)
}
