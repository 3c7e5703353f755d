package main

import (
	"testing"
)

// The example that packages install must be a valid configuration as it is.
func TestExampleConfiguration(t *testing.T) {
	a := app{configFile: "../../../deploy/systemd/controller.yaml"}
	s := a.settings()
	if s.ConfigError != nil {
		t.Fatal(s.ConfigError)
	}
	if s.Config.FederationKey != defaultFederationKey {
		t.Errorf("it names %s, dfaasctl keygen writes %s", s.Config.FederationKey, defaultFederationKey)
	}
}
