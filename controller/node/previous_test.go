//go:build dfaas_previous

package node

import (
	"fmt"
	"testing"
)

// TestMain runs no tests: almost all are of nodes that hear each other in the form of
// today, which the previous version does not read.
func TestMain(*testing.M) {
	fmt.Println("the previous version: its nodes do not hear each other in the form that these tests have")
}
