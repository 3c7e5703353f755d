package link

import (
	"encoding/binary"
	"net/netip"
)

// Sizes and places of an ARP packet of Ethernet and IPv4, in a frame.
const (
	arpLength = header + 28
	arpType   = 0x0806
	arpAsks   = 1
	arpTells  = 2
)

// resolve answers who asks for the hardware address of a node by its IP address, and
// reports whether somebody did. The addresses do not change, and if the question went
// over links, a host would not be back for a second after its link is.
func (s *Switch) resolve(node int, bytes []byte) bool {
	if s.nodeAt == nil || binary.BigEndian.Uint16(bytes[12:]) != arpType {
		return false
	}
	if len(bytes) < arpLength || binary.BigEndian.Uint16(bytes[header+6:]) != arpAsks {
		return true
	}
	target := netip.AddrFrom4([4]byte(bytes[header+24 : header+28]))
	of := s.nodeAt(target)
	if of < 0 || of >= len(s.ports) || of == node {
		return true // it asks whether its own address is somebody else's
	}
	answer := make([]byte, arpLength)
	copy(answer, bytes[6:12])
	copy(answer[6:], MAC(of))
	copy(answer[12:header+6], bytes[12:]) // the types are the same
	binary.BigEndian.PutUint16(answer[header+6:], arpTells)
	copy(answer[header+8:], MAC(of))
	copy(answer[header+14:], bytes[header+24:header+28])
	copy(answer[header+18:], bytes[header+8:header+18])
	s.mu.Lock()
	port := s.ports[node]
	s.mu.Unlock()
	if port != nil {
		_, _ = port.Write(answer) // it will ask again
	}
	return true
}
