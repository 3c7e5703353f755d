// Package estimate tells from what a node has seen what it cannot see: what its
// users ask for, what time it is in the federation, whom it can believe.
//
// Estimators are pure: what they are given is all they know. They have no clock
// and do no I/O, and each is owned by one goroutine.
package estimate
