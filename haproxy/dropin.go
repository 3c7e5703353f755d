// Package haproxy is DFaaS's side of HAProxy: the configuration that an
// operator drops in beside their own, and a client of HAProxy's runtime API that
// keeps the peers' servers as the controller wants them, without a reload.
package haproxy

import _ "embed"

//go:embed dfaas.cfg
var config string

//go:embed dfaas-spoe.conf
var spoeConfig string

// Config returns the drop-in, dfaas.cfg: a configuration file for HAProxy 2.6
// to 3.4 to be loaded after the operator's own.
func Config() string { return config }

// SPOEConfig returns dfaas-spoe.conf, the file that EnvSPOEConf names.
func SPOEConfig() string { return spoeConfig }

// Proxies and servers of the drop-in.
const (
	FrontendUsers    = "fe_dfaas"          // users and peers
	FrontendFallback = "fe_dfaas_fallback" // requests that were not served where they were sent
	FrontendStats    = "fe_dfaas_stats"    // statistics page and /metrics
	BackendLocal     = "be_dfaas_local"    // this node's gateway
	BackendPeers     = "be_dfaas_peers"    // one dynamic server for each peer, named by its id
	BackendSPOA      = "be_dfaas_spoa"     // dfaas-spoa
	BackendGranted   = "be_dfaas_granted"  // what it need not be asked about; with EnvFastPath only

	// ServerLocal is one of the two static servers of BackendPeers, which lead back
	// to this node. The runtime client never touches them.
	ServerLocal = "local"
	// ServerGateway of BackendLocal is this node's gateway; its other servers are
	// where requests go that it does not take.
	ServerGateway = "gateway"
)

// Variables that dfaas-spoa sets. None of them set means: serve here.
const (
	VarAction  = "txn.dfaas.action"  // ActionPeer, or "deny"
	VarTarget  = "txn.dfaas.target"  // peer id, with ActionPeer
	VarToken   = "txn.dfaas.token"   // JWT for that peer
	VarStatus  = "txn.dfaas.status"  // 403, 404, 429 or 503; with ActionPeer only if the function is not deployed here
	VarTimeout = "txn.dfaas.timeout" // milliseconds
)

// ActionPeer is the value of VarAction that sends a request to VarTarget.
const ActionPeer = "peer"

// Headers. The first two are also those of a forwarded request.
const (
	HeaderNodeID = "DFaaS-Node-ID" // response: the node that executed, or refused
	HeaderToken  = "DFaaS-Token"   // request only
	HeaderServer = "X-Server"      // response: HOST:PORT of that node; HOST may be a name
)

// Files that HAProxy reads when it starts, unless EnvTLSBind is "off".
const (
	CertificateFile = "node.pem"  // this node's certificate and key
	AnchorsFile     = "peers.pem" // what peers' certificates must be signed by
)

// Environment variables that the drop-in reads when HAProxy starts. All have
// defaults in dfaas.cfg.
const (
	EnvBind        = "DFAAS_BIND"              // address of FrontendUsers
	EnvGateway     = "DFAAS_GATEWAY"           // HOST:PORT of the gateway
	EnvNodeID      = "DFAAS_NODE_ID"           // this node's peer id
	EnvNodeName    = "DFAAS_NODE_NAME"         // what HeaderServer calls this node, or "off"
	EnvStats       = "DFAAS_STATS"             // address of FrontendStats
	EnvSPOA        = "DFAAS_SPOA"              // socket of dfaas-spoa as HAProxy sees it
	EnvSPOEConf    = "DFAAS_SPOE_CONF"         // path of dfaas-spoe.conf
	EnvPeerConnect = "DFAAS_PEER_CONNECT"      // time limit for connecting to a peer
	EnvPeerMaxConn = "DFAAS_PEER_MAXCONN"      // calls under way to one peer, see Client.Apply
	EnvMaxConn     = "DFAAS_MAXCONN"           // connections of FrontendUsers and FrontendFallback, each, or "auto"
	EnvProxies     = "DFAAS_PROXIES"           // addresses whose X-Forwarded-Proto is believed, or "off"
	EnvInstance    = "DFAAS_INSTANCE"          // tells several HAProxies on one machine apart
	EnvMaxHeaders  = "DFAAS_MAX_HEADERS"       // bytes that path and headers of a user's request may have
	EnvMaxFields   = "DFAAS_MAX_HEADER_FIELDS" // header fields that a user's request or a function's answer may have
	EnvBodyWait    = "DFAAS_BODY_WAIT"         // time limit for the beginning of a body
	EnvSourceCalls = "DFAAS_SOURCE_CALLS"      // calls under way of users of one address, or "off"
	EnvFastPath    = "DFAAS_FAST_PATH"         // FastPathOn or "off"
	EnvPeersOnly   = "DFAAS_PEERS_ONLY"        // addresses that are no users, or "off"
	EnvTLSBind     = "DFAAS_TLS_BIND"          // address of FrontendUsers for peers with TLS, or "off"
	EnvTLSDir      = "DFAAS_TLS_DIR"           // where CertificateFile and AnchorsFile are
)

// FastPathOn is the value of EnvFastPath with which HAProxy serves calls without asking
// dfaas-spoa, see Client.Unasked.
const FastPathOn = "on"

// FallbackAddress is what FrontendFallback binds, for the value of EnvInstance: two
// addresses.
func FallbackAddress(instance string) string {
	return "abns@dfaas-fallback-" + instance + ",abns@dfaas-gateway-" + instance
}
