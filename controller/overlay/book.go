package overlay

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/dfaas/dfaas/controller/membership"
)

const (
	// vainRate is how many dials a second, of all to addresses where nobody was met
	// yet, may be in vain, and vainBurst how many at once.
	vainRate  = 2
	vainBurst = 16
	// vainTries is how often such an address is dialled in vain until it is left
	// alone for vainRest, and vainTriesIP how often an IP address, at any port.
	vainTries   = 2
	vainTriesIP = 8
	vainRest    = 10 * time.Minute
	// A neighbour's own packet came from there: it is left alone for no longer than
	// neighbourFirst, and each time twice as long up to vainRest. While many start at once,
	// or the network is overloaded, what is dialled in vain is there all the same.
	neighbourFirst = 2 * time.Second
	// unprovenFirst is how long an address that a peer which was met gave for itself
	// is left alone after it was dialled in vain, each time twice as long, up to
	// unprovenLast.
	unprovenFirst = 2 * time.Second
	unprovenLast  = 5 * time.Minute
	// claimTries is how many dials in vain to such addresses of one peer in a row
	// there may be until all of them are left alone for claimRest.
	claimTries = 8
	claimRest  = time.Minute

	seenFor    = time.Hour       // where a peer was seen
	vouchedFor = 2 * time.Minute // what a packet's source vouches for
	maxVouched = 256
	maxVain    = 4096
	maxPlaces  = 8 // of one peer
	maxBook    = 16 * membership.DefaultMaxMembers
	maxNamed   = 1024
)

var (
	errUnvouched = errors.New("it was never seen at this address, and nobody trusted has named it")
	errVain      = errors.New("nobody was found there lately")
	errBudget    = errors.New("too many dials were in vain lately")
)

// place is how much speaks for it that a peer is at an address.
type place int

const (
	nowhere   place = iota
	stranger        // what others tell of one who was never met
	neighbour       // its own packet on this network
	claimed         // what it says of itself, at an IP address where it was seen
	known           // the operator named it, or the peer was dialled there before
)

// book says where peers may be dialled: every address that libp2p wants to dial,
// wherever it has it from, is asked for here. Peers give addresses for themselves
// and for others, and so does anybody on the local network; without this, each of
// them could aim the federation's dials at a third party. Safe for concurrent use.
type book struct {
	hearsay   bool // what others tell may be tried: the DHT is used
	connected func(peer.ID) bool

	mu      sync.Mutex
	named   map[string]bool // addresses that the operator gave
	peers   map[peer.ID]*whereabouts
	vouched map[string]vouched // addresses, with the packet's source
	vain    map[string]*vain   // addresses, IP addresses and peers dialled in vain
	left    float64            // dials in vain that may be made at once
	asOf    time.Time          // of left
	local   bool               // peers on this machine were seen
}

// whereabouts is where a peer was met.
type whereabouts struct {
	seen   map[netip.Addr]time.Time // IP addresses of its connections
	proven map[string]time.Time     // addresses at which it was dialled
	last   time.Time
}

type vouched struct {
	ip netip.Addr
	at time.Time
}

type vain struct {
	tries int
	until time.Time // left alone
	last  time.Time
}

func newBook(hearsay bool) *book {
	return &book{
		hearsay: hearsay, connected: func(peer.ID) bool { return false }, left: vainBurst,
		named: make(map[string]bool), peers: make(map[peer.ID]*whereabouts),
		vouched: make(map[string]vouched), vain: make(map[string]*vain),
	}
}

// name notes addresses that the operator gave.
func (b *book) name(addrs ...ma.Multiaddr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, addr := range addrs {
		if len(b.named) < maxNamed {
			b.named[addr.String()] = true
		}
	}
}

// isNamed reports whether the operator gave the address.
func (b *book) isNamed(addr ma.Multiaddr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.named[addr.String()]
}

// vouch notes the address of a peer from whose IP address a packet came.
func (b *book) vouch(now time.Time, addr ma.Multiaddr) {
	ip, ok := ipOf(addr)
	if !ok {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	key := addr.String()
	if _, known := b.vouched[key]; !known && len(b.vouched) >= maxVouched {
		b.dropVouched()
	}
	b.vouched[key] = vouched{ip, now}
}

// dropVouched drops the oldest address of the IP address with the most.
func (b *book) dropVouched() {
	count := make(map[netip.Addr]int)
	for _, v := range b.vouched {
		count[v.ip]++
	}
	var drop string
	for key, v := range b.vouched {
		old := b.vouched[drop]
		if drop == "" || count[v.ip] > count[old.ip] || count[v.ip] == count[old.ip] && v.at.Before(old.at) {
			drop = key
		}
	}
	delete(b.vouched, drop)
}

// met notes a connection with the peer, in whichever direction.
func (b *book) met(now time.Time, id peer.ID, addr ma.Multiaddr) {
	ip, ok := placeOf(addr)
	if !ok {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.local = b.local || ip.IsLoopback()
	put(b.at(now, id).seen, ip, now)
}

// at returns what is kept of the peer.
func (b *book) at(now time.Time, id peer.ID) *whereabouts {
	w := b.peers[id]
	if w == nil {
		if len(b.peers) >= maxBook {
			b.dropPeer()
		}
		w = &whereabouts{seen: make(map[netip.Addr]time.Time), proven: make(map[string]time.Time)}
		b.peers[id] = w
	}
	w.last = now
	return w
}

// dropPeer drops the peer met the longest ago of those that are not connected.
func (b *book) dropPeer() {
	var oldest peer.ID
	for id, w := range b.peers {
		if (oldest == "" || w.last.Before(b.peers[oldest].last)) && !b.connected(id) {
			oldest = id
		}
	}
	delete(b.peers, oldest)
}

// put notes when a place was last good, and drops the oldest of too many.
func put[K comparable](places map[K]time.Time, place K, now time.Time) {
	places[place] = now
	if len(places) <= maxPlaces {
		return
	}
	oldest := place
	for p, at := range places {
		if at.Before(places[oldest]) {
			oldest = p
		}
	}
	delete(places, oldest)
}

// check says whether the peer may be dialled at the address now.
func (b *book) check(now time.Time, id peer.ID, addr ma.Multiaddr) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, err := b.judge(now, id, addr)
	return err
}

func (b *book) judge(now time.Time, id peer.ID, addr ma.Multiaddr) (place, error) {
	p := b.place(now, id, addr)
	switch p {
	case nowhere:
		return p, errUnvouched
	case known:
		return p, nil
	}
	if v := b.vain[addr.String()]; v != nil && now.Before(v.until) {
		return p, errVain
	}
	if p == claimed {
		if v := b.vain[string(id)]; v != nil && now.Before(v.until) {
			return p, errVain
		}
		return p, nil
	}
	ip, _ := placeOf(addr)
	if v := b.vain[ip.String()]; v != nil && now.Before(v.until) {
		return p, errVain
	}
	b.left, b.asOf = min(vainBurst, b.left+vainRate*max(0, now.Sub(b.asOf).Seconds())), now
	if b.left < 1 || len(b.vain) >= maxVain && !b.forget(now) {
		return p, errBudget
	}
	return p, nil
}

// place says how much speaks for the address.
func (b *book) place(now time.Time, id peer.ID, addr ma.Multiaddr) place {
	ip, ok := placeOf(addr)
	if !ok || ip.IsUnspecified() || ip.IsMulticast() {
		return nowhere
	}
	key := addr.String()
	w := b.peers[id]
	if w != nil && now.Sub(w.last) > seenFor && !b.connected(id) {
		delete(b.peers, id)
		w = nil
	}
	switch {
	case b.named[key]:
		return known
	case w != nil && !w.proven[key].IsZero():
		return known
	case w != nil && !w.seen[ip].IsZero():
		return claimed
	case now.Sub(b.vouched[key].at) <= vouchedFor:
		return neighbour
	case w == nil && b.hearsay && (b.local || !ip.IsLoopback()) && !ip.IsLinkLocalUnicast():
		return stranger
	}
	return nowhere
}

// begin takes note of a dial. done is to be told whether it led to the peer.
func (b *book) begin(now time.Time, id peer.ID, addr ma.Multiaddr) (done func(now time.Time, ok bool), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := b.judge(now, id, addr)
	if err != nil {
		return nil, err
	}
	ip, _ := placeOf(addr)
	keys := []string{addr.String(), ip.String(), string(id)}
	// Taken for vain until it turns out otherwise, so that those under way count.
	switch p {
	case stranger:
		b.left--
		b.inVain(now, keys[0]).rest(now, vainTries, vainRest)
		b.inVain(now, keys[1]).rest(now, vainTriesIP, vainRest)
	case neighbour:
		b.left--
		b.inVain(now, keys[0]).restLonger(now, vainTries, neighbourFirst, vainRest)
		b.inVain(now, keys[1]).restLonger(now, vainTriesIP, neighbourFirst, vainRest)
	case claimed:
		b.inVain(now, keys[0]).restLonger(now, 1, unprovenFirst, unprovenLast)
		b.inVain(now, keys[2]).rest(now, claimTries, claimRest)
	}
	return func(now time.Time, ok bool) {
		if !ok {
			return
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		put(b.at(now, id).proven, keys[0], now)
		for _, key := range keys {
			delete(b.vain, key)
		}
		if p < claimed {
			b.left++
		}
	}, nil
}

// inVain counts one more try. Where there is no room, what was tried the longest ago is
// forgotten: what peers that were met claim of themselves has no budget that would end.
func (b *book) inVain(now time.Time, key string) *vain {
	v := b.vain[key]
	if v == nil || now.Sub(v.last) > vainRest {
		if v == nil && len(b.vain) >= maxVain && !b.forget(now) {
			b.dropVain()
		}
		v = &vain{}
		b.vain[key] = v
	}
	v.tries, v.last = v.tries+1, now
	return v
}

func (b *book) dropVain() {
	oldest := ""
	for key, v := range b.vain {
		if oldest == "" || v.last.Before(b.vain[oldest].last) {
			oldest = key
		}
	}
	delete(b.vain, oldest)
}

// rest leaves the address alone if it was tried often enough.
func (v *vain) rest(now time.Time, tries int, pause time.Duration) {
	if v.tries >= tries {
		v.until = now.Add(pause)
	}
}

// restLonger is rest, each time for twice as long.
func (v *vain) restLonger(now time.Time, tries int, first, last time.Duration) {
	v.rest(now, tries, min(last, first<<min(max(v.tries-tries, 0), 16)))
}

// forget makes room for addresses dialled in vain, if there are old ones.
func (b *book) forget(now time.Time) bool {
	for key, v := range b.vain {
		if now.Sub(v.last) > vainRest {
			delete(b.vain, key)
		}
	}
	return len(b.vain) < maxVain
}

// placeOf is ipOf for comparing: all of a machine's loopback addresses are one.
func placeOf(addr ma.Multiaddr) (netip.Addr, bool) {
	ip, ok := ipOf(addr)
	if ok && ip.IsLoopback() {
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return ip.WithZone(""), ok && manet.IsThinWaist(addr)
}
