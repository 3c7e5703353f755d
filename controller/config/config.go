// Package config holds the controller's options. Config is what was written,
// Settings what it means; the table in options.go says what each option is for.
package config

import (
	"time"

	"github.com/dfaas/dfaas/faasd"
)

// Config is every option of dfaas-controller as it is written in the file, the
// environment or a flag. It is a value, put together once at start.
type Config struct {
	Federation          string        `yaml:"federation"`
	NodeName            string        `yaml:"node_name"`
	Identity            string        `yaml:"identity"`
	FederationKey       string        `yaml:"federation_key"`
	OpenFederation      bool          `yaml:"open_federation"`
	AllowPeers          []string      `yaml:"allow_peers"`
	Neighbours          []string      `yaml:"neighbours"`
	Listen              []string      `yaml:"listen"`
	Bootstrap           []string      `yaml:"bootstrap"`
	MDNS                bool          `yaml:"mdns"`
	DHT                 bool          `yaml:"dht"`
	HTTPAddress         string        `yaml:"http_address"`
	PeerTLS             bool          `yaml:"peer_tls"`
	TLSDir              string        `yaml:"tls_dir"`
	AllowAddresses      []string      `yaml:"allow_addresses"`
	Strategy            string        `yaml:"strategy"`
	Period              time.Duration `yaml:"period"`
	DefaultMaxrate      float64       `yaml:"default_maxrate"` // requests/s
	MaxPeerTimeout      time.Duration `yaml:"max_peer_timeout"`
	HAProxySocket       string        `yaml:"haproxy_socket"`
	SPOASocket          string        `yaml:"spoa_socket"`
	AdminSocket         string        `yaml:"admin_socket"`
	Gateway             string        `yaml:"gateway"`
	GatewayUser         string        `yaml:"gateway_user"`
	GatewayPasswordFile string        `yaml:"gateway_password_file"`
	Async               string        `yaml:"async"`
	Metrics             string        `yaml:"metrics"`
	LogLevel            string        `yaml:"log_level"`
	LogFormat           string        `yaml:"log_format"`
}

// DefaultFile is read when no file is named and it exists.
const DefaultFile = "/etc/dfaas/controller.yaml"

// Default returns the defaults. They are valid once http_address and one of
// federation_key, allow_peers and open_federation are set.
func Default() Config {
	return Config{
		Federation:     "dfaas",
		Identity:       "/var/lib/dfaas/identity.key",
		Listen:         []string{"/ip4/0.0.0.0/tcp/31600"},
		TLSDir:         "/var/lib/dfaas/tls",
		MDNS:           true,
		DHT:            true,
		Strategy:       "headroom",
		Period:         time.Second,
		DefaultMaxrate: 100,
		MaxPeerTimeout: 5 * time.Minute,
		HAProxySocket:  "/run/haproxy/admin.sock",
		SPOASocket:     "/run/dfaas/spoa-control.sock",
		AdminSocket:    "/run/dfaas/admin.sock",
		Gateway:        "http://127.0.0.1:8080",
		Async:          faasd.AsyncAuto,
		LogLevel:       "info",
		LogFormat:      "json",
	}
}
