package provider

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openfaas/faas-provider/types"

	"github.com/dfaas/dfaas/internal/clip"
)

// Bounds of the secrets of one namespace. The size of each is bounded by that of
// a request to the REST API.
const (
	maxSecretName    = 253
	maxSecretsStored = 256
)

// checkSecretName allows what can be a file name without surprises.
func checkSecretName(name string) error {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
	}
	odd := strings.ContainsFunc(name, func(c rune) bool { return !plain(c) })
	if name == "" || len(name) > maxSecretName || name[0] == '.' || odd {
		return badRequest("secret name %q is not valid: use 1 to %d letters, digits and -_., not beginning with a dot",
			clip.Text(name), maxSecretName)
	}
	return nil
}

// secrets lists the secrets of a namespace without their values, sorted.
func (g *registry) secrets(namespace string) ([]types.Secret, error) {
	entries, err := os.ReadDir(g.dir.secretsDir(namespace))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	secrets := []types.Secret{}
	for _, entry := range entries {
		if checkSecretName(entry.Name()) == nil { // else an abandoned temporary file
			secrets = append(secrets, types.Secret{Name: entry.Name(), Namespace: namespace})
		}
	}
	return secrets, nil
}

// setSecret creates a secret or, with update, gives it another value.
func (g *registry) setSecret(ctx context.Context, s types.Secret, update bool) error {
	if err := checkSecretName(s.Name); err != nil {
		return err
	}
	value := []byte(s.Value)
	if len(value) == 0 {
		value = s.RawValue
	}
	return g.do(ctx, func() error {
		dir := g.dir.secretsDir(s.Namespace)
		path := filepath.Join(dir, s.Name)
		_, err := os.Stat(path)
		switch {
		case err == nil && !update:
			return conflict("secret %s is there already: change it with PUT", s.Name)
		case errors.Is(err, os.ErrNotExist) && update:
			return notFound("there is no secret %s: create it with POST", s.Name)
		case err != nil && !errors.Is(err, os.ErrNotExist):
			return err
		}
		if !update {
			if err := g.roomForSecret(s.Namespace); err != nil {
				return err
			}
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := writeFile(path, value); err != nil {
			return err
		}
		for _, f := range g.in(s.Namespace) {
			if f.runner != nil && slices.Contains(f.record.Deployment.Secrets, s.Name) {
				if err := g.dir.mountSecret(f.runner.mount, s.Namespace, s.Name, f.runner.user); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (g *registry) roomForSecret(namespace string) error {
	secrets, err := g.secrets(namespace)
	if err != nil {
		return err
	}
	if len(secrets) >= maxSecretsStored {
		return conflict("namespace %s holds %d secrets, which is the most there can be", namespace, maxSecretsStored)
	}
	return nil
}

// removeSecret removes a secret.
func (g *registry) removeSecret(ctx context.Context, namespace, name string) error {
	if err := checkSecretName(name); err != nil {
		return err
	}
	return g.do(ctx, func() error {
		err := removeFile(filepath.Join(g.dir.secretsDir(namespace), name))
		for _, f := range g.in(namespace) {
			if f.runner != nil {
				_ = os.Remove(filepath.Join(f.runner.mount, name))
			}
		}
		if errors.Is(err, os.ErrNotExist) {
			return notFound("there is no secret %s in namespace %s", name, namespace)
		}
		return err
	})
}
