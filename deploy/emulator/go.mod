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

require (
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/gorilla/mux v1.8.1 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/openfaas/faas-provider v0.25.12 // indirect
	github.com/prometheus/client_golang v1.24.1 // indirect
	github.com/prometheus/client_model v0.6.2 // indirect
	github.com/prometheus/common v0.70.1 // indirect
	github.com/prometheus/procfs v0.21.1 // indirect
	golang.org/x/sync v0.22.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	google.golang.org/protobuf v1.36.11 // indirect
)

replace github.com/dfaas/dfaas => ../../

replace github.com/dfaas/dfaas/spoa => ../../spoa

replace github.com/dfaas/dfaas/controller => ../../controller
