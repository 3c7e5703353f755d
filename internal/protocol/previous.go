//go:build dfaas_previous

package protocol

// Previous is true in programs that speak and understand one version less of
// gossip and table than the code around it, and refuse what they do not know, as
// the programs of that version did.
const Previous = true
