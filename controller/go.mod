module github.com/dfaas/dfaas/controller

go 1.26.0

require (
	github.com/dfaas/dfaas v0.0.0
	github.com/dfaas/dfaas/spoa v0.0.0
	github.com/golang-jwt/jwt/v5 v5.3.1
	github.com/google/go-cmp v0.7.0
	github.com/libp2p/go-libp2p v0.51.0
	github.com/libp2p/go-libp2p-kad-dht v0.41.0
	github.com/libp2p/go-libp2p-pubsub v0.16.0
	github.com/prometheus/client_golang v1.24.1
	github.com/rs/zerolog v1.35.1
	github.com/spf13/cobra v1.10.1
	go.yaml.in/yaml/v3 v3.0.5
)

replace github.com/dfaas/dfaas => ../

replace github.com/dfaas/dfaas/spoa => ../spoa
