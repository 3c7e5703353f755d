package testprogram

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// What runs on every node holds only what it uses. Each of these got into a program by one
// innocent line, and none is noticed but by its size.
func TestProgramsHoldOnlyWhatTheyUse(t *testing.T) {
	dir := Dir(t)
	for _, program := range []string{"dfaas-spoa", "dfaas-controller", "dfaas-provider"} {
		text, err := os.ReadFile(filepath.Join(dir, program))
		if err != nil {
			t.Fatal(err)
		}
		for function, why := range map[string]string{
			"text/template.(*Template).Execute":                       "something finds methods by a name that is made at run time, so the linker keeps all there are: 3 MB to 5 MB",
			"github.com/quic-go/quic-go.(*Transport).Dial":            "libp2p's transports are linked, which no node uses: libp2p.New does that",
			"github.com/pion/webrtc/v4.(*PeerConnection).CreateOffer": "libp2p's transports are linked, which no node uses: libp2p.New does that",
			"go.uber.org/fx.(*App).Start":                             "libp2p's options are linked, and what makes hosts of them",
			"github.com/libp2p/go-libp2p/config.(*Config).NewNode":    "libp2p's options are linked, and what makes hosts of them",
		} {
			if bytes.Contains(text, []byte(function)) {
				t.Errorf("%s has %s: %s", program, function, why)
			}
		}
		if !bytes.Contains(text, []byte("main.newCommand")) {
			t.Fatalf("%s does not show the names of its functions", program)
		}
	}
}
