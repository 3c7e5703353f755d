module github.com/dfaas/dfaas/e2e

go 1.26.0

require (
	github.com/dfaas/dfaas v0.0.0
	github.com/dfaas/dfaas/controller v0.0.0
	github.com/dfaas/dfaas/deploy/emulator v0.0.0
	github.com/dfaas/dfaas/spoa v0.0.0
	golang.org/x/sys v0.47.0
)

replace github.com/dfaas/dfaas => ../

replace github.com/dfaas/dfaas/spoa => ../spoa

replace github.com/dfaas/dfaas/controller => ../controller

replace github.com/dfaas/dfaas/deploy/emulator => ../deploy/emulator
