package haproxy_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dfaas/dfaas/haproxy"
)

// TestInstallPage does what docs/install.md says, line by line, to Debian's
// stock configuration. It does so in namespaces of its own, as process 1 of a
// system with its own /etc, /run, /var/lib and network, so that the real paths
// and ports can be used and nothing outside is changed.
func TestInstallPage(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Fatal("run the tests as root, for instance in a container: this one needs namespaces, a chroot and two users")
	}
	page, err := os.ReadFile("../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	chapters := chaptersOf(string(page))
	sh := func(chapter string) string {
		t.Helper()
		if chapters[chapter].sh == "" {
			t.Fatalf("no commands under %q", chapter)
		}
		return "echo '== " + chapter + "'\n" + chapters[chapter].sh
	}
	dir := t.TempDir()
	site := chapters["Your own frontend"].haproxy +
		"\nbackend site\n    http-request return status 200 content-type text/plain string the-site\n"
	for name, text := range map[string]string{
		"bin/systemctl": systemctlStandIn,
		"bin/dfaasctl":  "#!/bin/sh\necho " + idA + "\n",
		"gateway.cfg":   gatewayStandIn,
		"site.cfg":      site,
		"install.sh": installPrelude + strings.Join([]string{
			sh("Load the drop-in"), sh("See that it works"), checkDropIn,
			sh("TLS between nodes"), checkTLS,
			"cat $DIR/site.cfg >> /etc/haproxy/haproxy.cfg\n" + sh("Your own frontend"), checkOwnFrontend,
			"cp $DIR/stock.cfg /etc/haproxy/haproxy.cfg\n" + sh("Remove it"), checkRemoved,
		}, "\n"),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "tls"), os.DirFS(newPeer(t, 1).dir)); err != nil {
		t.Fatal(err)
	}
	source, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
		"sh", filepath.Join(dir, "install.sh"))
	cmd.Dir = source
	cmd.Env = []string{"DIR=" + dir, "ID=" + idA, "PATH=" + filepath.Join(dir, "bin") + ":/usr/sbin:/usr/bin:/sbin:/bin"}
	output, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(output), "all done\n") {
		t.Fatalf("%v\n%s", err, output)
	}
	if strings.Contains(string(output), "[WARNING]") {
		t.Errorf("HAProxy warns:\n%s", output)
	}
	for _, line := range strings.Split(chapters["See that it works"].plain, "\n") {
		if line, _, _ := strings.Cut(line, "12D3KooW..."); !strings.Contains(string(output), line) {
			t.Errorf("the page shows %q, but that was not printed:\n%s", line, output)
		}
	}
}

// chapter holds the code of one chapter of the page, by language.
type chapter struct{ sh, haproxy, plain string }

func chaptersOf(page string) map[string]chapter {
	chapters := make(map[string]chapter)
	for text := range strings.SplitSeq(page, "\n## ") {
		title, text, _ := strings.Cut(text, "\n")
		var c chapter
		for i, part := range strings.Split("\n"+text, "\n```") {
			if i%2 == 0 {
				continue // between the blocks
			}
			switch language, code, _ := strings.Cut(part, "\n"); language {
			case "sh":
				c.sh += code + "\n"
			case "haproxy":
				c.haproxy += code + "\n"
			case "":
				// No peers and no agent in this test.
				for line := range strings.Lines(code) {
					if !strings.HasPrefix(line, "be_dfaas_peers,12D3KooW") && !strings.HasPrefix(line, "be_dfaas_spoa") {
						c.plain += strings.TrimSpace(line) + "\n"
					}
				}
			}
		}
		chapters[title] = c
	}
	return chapters
}

// installPrelude makes the system that the page starts from.
const installPrelude = `
set -eu
ip link set lo up
mount -t tmpfs none /mnt
for d in etc run var/lib; do
	mkdir -p /mnt/$d/upper /mnt/$d/work
	mount -t overlay none -o lowerdir=/$d,upperdir=/mnt/$d/upper,workdir=/mnt/$d/work /$d
done
cp /etc/haproxy/haproxy.cfg $DIR/stock.cfg
mkdir -p /var/lib/haproxy/dfaas
fail() { echo "FAILED: $*"; exit 1; }
haproxy -db -f $DIR/gateway.cfg &
systemctl restart haproxy # as stock
`

// systemctlStandIn starts HAProxy with the command line and environment of
// Debian's unit.
const systemctlStandIn = `#!/bin/sh
if [ "$*" = "restart dfaas-controller" ]; then
	install -d -m 700 -o nobody /var/lib/dfaas/tls
	exec install -m 600 -o nobody $DIR/tls/* /var/lib/dfaas/tls/
fi
[ "$*" = "restart haproxy" ] || { echo "systemctl $*?"; exit 1; }
set -eu
if [ -e /run/haproxy.pid ]; then
	old=$(cat /run/haproxy.pid)
	kill $old
	while kill -0 $old 2>/dev/null; do sleep 0.05; done
fi
CONFIG=/etc/haproxy/haproxy.cfg PIDFILE=/run/haproxy.pid EXTRAOPTS="-S /run/haproxy-master.sock"
set -a
. /etc/default/haproxy
set +a
/usr/sbin/haproxy -Ws -f $CONFIG -p $PIDFILE $EXTRAOPTS >>$DIR/log 2>&1 &
i=0
until echo quit | curl -s --max-time 1 --unix-socket /run/haproxy/admin.sock http://x/ 2>/dev/null || [ $? = 1 ] || [ $? = 52 ]; do
	i=$((i+1))
	[ $i -lt 200 ] || { cat $DIR/log; echo "HAProxy does not start"; exit 1; }
	sleep 0.05
done
`

// gatewayStandIn also stands in the agent's place, inside the chroot, but
// understands none of what HAProxy asks it.
const gatewayStandIn = `
defaults
    mode http
    timeout client 1m
frontend gateway
    bind 127.0.0.1:8080
    http-request return status 200 content-type text/plain string served
frontend agent
    bind unix@/var/lib/haproxy/dfaas/spoa.sock group haproxy mode 660
`

const checkDropIn = `
[ "$(stat -c '%a %G' /run/haproxy/admin.sock)" = "660 haproxy" ] || fail "runtime socket"
[ "$(curl -s http://127.0.0.1:8081/function/echo)" = served ] || fail "function call"
[ "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8081/system/functions)" = 404 ] || fail "the gateway's API is open"
curl -si http://127.0.0.1:8081/function/echo | grep -qi "^dfaas-node-id: $ID" || fail "DFaaS-Node-ID"
curl -s http://127.0.0.1:8404/metrics | grep -q be_dfaas_peers || fail "metrics"
# Found in the chroot, and not understood: neither missing nor up.
until curl -s 'http://127.0.0.1:8404/;csv' | grep -q '^be_dfaas_spoa,spoa,.*,L7'; do sleep 0.1; done
`

const checkTLS = `
haproxy -c -f /etc/haproxy/haproxy.cfg -f /etc/haproxy/dfaas.cfg 2>&1 | grep -q WARNING && fail "warnings with TLS"
[ "$(curl -sk --cert $DIR/tls/node.pem https://127.0.0.1:8443/healthz)" = ok ] || fail "TLS with this node's certificate"
curl -sk -o /dev/null https://127.0.0.1:8443/healthz && fail "TLS without a certificate"
[ "$(curl -s http://127.0.0.1:8081/function/echo)" = served ] || fail "users"
[ "$(curl -s -o /dev/null -w '%{http_code}' -H "DFaaS-Node-ID: $ID" -H "DFaaS-Token: a.b.c" http://127.0.0.1:8081/function/echo)" = 403 ] ||
	fail "a peer on the port for users"
`

const checkOwnFrontend = `
haproxy -c -f /etc/haproxy/haproxy.cfg -f /etc/haproxy/dfaas.cfg 2>&1 | grep -q WARNING && fail "warnings"
[ "$(curl -s http://127.0.0.1/function/echo)" = served ] || fail "function call through the own frontend"
[ "$(curl -s http://127.0.0.1/healthz)" = ok ] || fail "health through the own frontend"
[ "$(curl -s http://127.0.0.1/other)" = the-site ] || fail "the site"
[ "$(curl -s http://127.0.0.1/system/functions)" = the-site ] || fail "the gateway's API"
curl -si http://127.0.0.1/function/echo | grep -qi "^x-server: 127.0.0.1:80" || fail "X-Server"
curl -s -o /dev/null http://127.0.0.2:8081/healthz && fail "fe_dfaas is still on every address"
`

const checkRemoved = `
cmp /etc/haproxy/haproxy.cfg $DIR/stock.cfg
curl -s -o /dev/null http://127.0.0.1:8081/healthz && fail "fe_dfaas is still there"
grep -i dfaas /etc/default/haproxy && fail "traces in /etc/default/haproxy"
ls /etc/haproxy | grep -i dfaas && fail "traces in /etc/haproxy"
echo "all done"
`

// TestInstallPageNamesWhatExists finds names that were changed in the drop-in
// only.
func TestInstallPageNamesWhatExists(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		haproxy.EnvNodeID, haproxy.EnvGateway, haproxy.EnvStats, haproxy.EnvSPOA + "=unix@", haproxy.EnvBind, haproxy.EnvInstance,
		haproxy.EnvTLSBind, haproxy.EnvTLSDir, haproxy.CertificateFile, haproxy.AnchorsFile, haproxy.BackendLocal, haproxy.BackendPeers, haproxy.BackendSPOA, haproxy.FrontendUsers,
		fmt.Sprintf("var(%s) -m str %s", haproxy.VarAction, haproxy.ActionPeer),
	} {
		if !strings.Contains(string(page), name) {
			t.Errorf("docs/install.md does not mention %s", name)
		}
	}
}
