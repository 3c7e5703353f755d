module github.com/dfaas/dfaas/spoa

go 1.26.0

require (
	github.com/golang-jwt/jwt/v5 v5.3.1
	github.com/google/go-cmp v0.7.0
	github.com/negasus/haproxy-spoe-go v1.0.7
	github.com/prometheus/client_golang v1.24.1
	github.com/rs/zerolog v1.35.1
	github.com/spf13/cobra v1.10.1
)

require github.com/mr-tron/base58 v1.3.0 // indirect
