module github.com/dfaas/dfaas

go 1.26.0

require (
	github.com/google/go-cmp v0.7.0
	github.com/haproxytech/client-native/v5 v5.1.27
	github.com/openfaas/faas-provider v0.25.12
	github.com/rs/zerolog v1.35.1
	github.com/spf13/cobra v1.10.1
)
