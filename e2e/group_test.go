package e2e

import (
	"sync"
	"testing"
)

// subtest is one of several tests that run side by side.
type subtest struct {
	name string
	run  func(t *testing.T)
}

// sideBySide runs the tests in their order, atOnce of them at a time. (With
// t.Parallel the order would be left to chance, and how many run at a time to
// the number of processors, while these tests mostly wait.)
func sideBySide(t *testing.T, atOnce int, tests []subtest) {
	t.Helper()
	queue := make(chan subtest)
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for test := range queue {
				t.Run(test.name, test.run)
			}
		})
	}
	for _, test := range tests {
		queue <- test
	}
	close(queue)
	workers.Wait()
}
