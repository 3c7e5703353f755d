module github.com/dfaas/dfaas/deploy/emulator

go 1.26.0

require (
	github.com/dfaas/dfaas v0.0.0
	github.com/dfaas/dfaas/controller v0.0.0
	github.com/dfaas/dfaas/spoa v0.0.0
	github.com/rs/zerolog v1.35.1
	github.com/spf13/cobra v1.10.1
	github.com/tsenart/vegeta/v12 v12.13.0
	go.yaml.in/yaml/v3 v3.0.5
	gonum.org/v1/plot v0.16.0
)

require github.com/google/go-cmp v0.7.0 // indirect

replace github.com/dfaas/dfaas => ../../

replace github.com/dfaas/dfaas/spoa => ../../spoa

replace github.com/dfaas/dfaas/controller => ../../controller
