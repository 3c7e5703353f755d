package main

import (
	"testing"
)

// The example that packages install must be a valid configuration as it is.
func TestExampleConfiguration(t *testing.T) {
	s := new(app).settings("../../../deploy/systemd/controller.yaml", false)
	if s.ConfigError != nil {
		t.Fatal(s.ConfigError)
	}
	if s.Config.FederationKey != defaultFederationKey {
		t.Errorf("it names %s, dfaasctl keygen writes %s", s.Config.FederationKey, defaultFederationKey)
	}
}
