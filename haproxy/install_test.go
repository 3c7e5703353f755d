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
	"github.com/dfaas/dfaas/internal/testprogram"
)

// TestInstallPage does what docs/install.md says, line by line, to Debian's
// stock configuration, with the programs built from these sources. It does so in
// namespaces of its own, as process 1 of a system with its own /etc, /run,
// /usr, /var/lib and network, so that the real paths and ports can be used and
// nothing outside is changed. The one stand-in is systemctl.
func TestInstallPage(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Fatal("run the tests as root, for instance in a container: this one needs namespaces, a chroot and three users")
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
	setting, _, found := strings.Cut(sh("Load the drop-in"), "\nEND\n")
	if !found {
		t.Fatal("which node this is, is no longer set with a here-document")
	}
	impatient := strings.Replace(sh("TLS between nodes"), "timeout 30 ", "timeout 1 ", 1)
	if impatient == sh("TLS between nodes") {
		t.Fatal("the page no longer waits half a minute for the certificates")
	}
	dir := t.TempDir()
	site := chapters["Your own frontend"].haproxy +
		"\nbackend site\n    http-request return status 200 content-type text/plain string the-site\n"
	for name, text := range map[string]string{
		"bin/systemctl": systemctlStandIn,
		"bin/sudo":      "#!/bin/sh\nexec \"$@\"\n",
		"site.cfg":      site,
		"tls.yaml":      chapters["TLS between nodes"].yaml,
		"install.sh": installPrelude + strings.Join([]string{
			sh("Install the services"), sh("Have a function"), checkInstalled,
			"export DFAAS_IDENTITY=/none\n" + setting + "\nEND\nunset DFAAS_IDENTITY\n" + checkNoIdentity,
			checkTaken + sh("Load the drop-in") + "\n) && fail 'HAProxy was restarted although its port is taken'\n" + checkNotRestarted,
			sh("Load the drop-in"), sh("See that it works"), checkDropIn,
			switchToTLS, "touch $DIR/hold\n" + impatient, checkNoTLS,
			"echo junk | tee $TLS/node.pem >$TLS/peers.pem\n" + impatient, checkNoTLS,
			"rm $DIR/hold $TLS/*\n" + sh("TLS between nodes"), checkTLS,
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
	source, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	// Already here, where modules can still be downloaded: in there is no network.
	// Built twice, the page's own way finds everything done; the first time, too,
	// where `make test` has done it.
	bin := filepath.Join(dir, "built")
	if err := os.CopyFS(bin, os.DirFS(testprogram.Dir(t))); err != nil {
		t.Fatal(err)
	}
	built := "BIN=" + bin
	build := exec.CommandContext(t.Context(), "make", "build", built)
	build.Dir = source
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--net", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc",
		"sh", "-c", "hostname edge-1 && exec sh "+filepath.Join(dir, "install.sh"))
	cmd.Dir = source
	for _, entry := range os.Environ() { // for Go, which builds in there
		if !strings.HasPrefix(entry, "DFAAS_") {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	cmd.Env = append(cmd.Env, "DIR="+dir, "MAKEFLAGS=-- "+built,
		"PATH="+filepath.Join(dir, "bin")+":/usr/sbin:/usr/bin:/sbin:/bin:"+os.Getenv("PATH"))
	output, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(output), "all done\n") {
		t.Fatalf("%v\n%s", err, output)
	}
	_, works, _ := strings.Cut(string(output), "== See that it works")
	works, _, _ = strings.Cut(works, "== TLS between nodes")
	if strings.Contains(string(output), "[WARNING]") || strings.Contains(works, "FAIL ") || !strings.Contains(works, "OK    forged peer") {
		t.Errorf("HAProxy or dfaasctl doctor complains:\n%s", output)
	}
	// The function that the page deploys is called by the page's own command.
	if strings.Count(works, "HTTP/1.1 200 OK") != 2 || !strings.Contains(works, "\nhello") {
		t.Errorf("the function does not answer as the page says:\n%s", output)
	}
	for _, line := range strings.Split(chapters["See that it works"].plain, "\n") {
		if line, _, _ := strings.Cut(line, "12D3KooW..."); !strings.Contains(string(output), line) {
			t.Errorf("the page shows %q, but that was not printed:\n%s", line, output)
		}
	}
}

// chapter holds the code of one chapter of the page, by language.
type chapter struct{ sh, haproxy, yaml, plain string }

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
			case "yaml":
				c.yaml += code + "\n"
			case "":
				// No peers in this test.
				for line := range strings.Lines(code) {
					if !strings.HasPrefix(line, "be_dfaas_peers,12D3KooW") {
						c.plain += strings.TrimSpace(line) + "\n"
					}
				}
			}
		}
		chapters[title] = c
	}
	return chapters
}

// installPrelude makes the system that the page starts from. Its address is the
// one that the example configuration and the page have.
const installPrelude = `
set -eu
ip link set lo up
ip address add 192.0.2.10/32 dev lo
mount -t tmpfs none /mnt
for d in etc run usr var/lib; do
	mkdir -p /mnt/$d/upper /mnt/$d/work
	mount -t overlay none -o lowerdir=/$d,upperdir=/mnt/$d/upper,workdir=/mnt/$d/work /$d
done
cp /etc/haproxy/haproxy.cfg $DIR/stock.cfg
cp /etc/default/haproxy $DIR/stock.default
TLS=/var/lib/dfaas/tls
fail() { echo "FAILED: $*"; cat $DIR/*.log; exit 1; }
systemctl restart haproxy # as stock
`

// systemctlStandIn starts HAProxy with the command line and environment of
// Debian's unit, and ours with the users, groups and command lines of their
// units. As with Type=exec, it returns before they have done anything; a
// controller that is restarted takes its time, or with the file "hold" for ever.
const systemctlStandIn = `#!/bin/sh
set -eu
stop() {
	[ -e /run/$1.pid ] || return 0
	old=$(cat /run/$1.pid)
	rm /run/$1.pid
	kill $old
	while kill -0 $old 2>/dev/null; do sleep 0.05; done
}
start() { # UNIT DELAY
	unit=/usr/lib/systemd/system/$1.service
	get() { sed -n "s/^$1=//p" $unit; }
	user=$(get User) groups=$(get Group) more=$(get SupplementaryGroups)
	if [ "$(get DynamicUser)" = yes ]; then
		user=nobody groups=nogroup
		mkdir -p -m 700 /var/lib/private
		chmod 711 /var/lib/private # the unit sees through it, by a mount
		install -d -m 700 -o $user -g $groups /var/lib/private/$(get StateDirectory)
		ln -sfn private/$(get StateDirectory) /var/lib/$(get StateDirectory)
	fi
	(
		sleep $2
		umask $(get UMask)
		exec setpriv --reuid=$user --regid=$groups --groups=$groups${more:+,$more} -- $(get ExecStart | sed 's/ [$][A-Z_]*//')
	) >>$DIR/$1.log 2>&1 &
	echo $! >/run/$1.pid
	if [ $1 = dfaas-provider ]; then # it says when it is ready
		until curl -sf -o /dev/null http://127.0.0.1:8080/healthz; do sleep 0.05; done
	fi
}
case "$*" in
daemon-reload) exit ;;
"enable --now dfaas-"*) shift 2; for unit; do start $unit 0; done; exit ;;
"disable --now dfaas-"*) shift 2; for unit; do stop $unit; done; exit ;;
"restart dfaas-controller") stop $2; [ -e $DIR/hold ] || start $2 1; exit ;;
"restart haproxy") stop $2 ;;
*) echo "systemctl $*?"; exit 1 ;;
esac
CONFIG=/etc/haproxy/haproxy.cfg PIDFILE=/run/haproxy.pid EXTRAOPTS="-S /run/haproxy-master.sock"
set -a
. /etc/default/haproxy
set +a
/usr/sbin/haproxy -Ws -f $CONFIG -p $PIDFILE $EXTRAOPTS >>$DIR/haproxy.log 2>&1 &
i=0
until echo quit | curl -s --max-time 1 --unix-socket /run/haproxy/admin.sock http://x/ 2>/dev/null || [ $? = 1 ] || [ $? = 52 ]; do
	i=$((i+1))
	[ $i -lt 200 ] || { cat $DIR/haproxy.log; echo "HAProxy does not start"; exit 1; }
	sleep 0.05
done
`

// checkInstalled also installs for a package, for /usr/local, and over what is
// there.
const checkInstalled = `
ID=$(dfaasctl id)
[ "$(stat -c '%a %U %G' /etc/dfaas/federation.key /var/lib/dfaas/identity.key | sort -u)" = "600 dfaas dfaas" ] || fail "owner of the secrets"
[ "$(stat -c '%a %U %G' /var/lib/dfaas)" = "700 dfaas dfaas" ] || fail "owner of the state"
systemd-analyze verify --man=no /usr/lib/systemd/system/dfaas-*.service || fail "units"
until dfaasctl status | grep -q '^spoa *ok'; do sleep 0.1; done

make install DESTDIR=$DIR/package >/dev/null
(cd $DIR/package && find -type f) | while read -r file; do
	cmp $DIR/package/$file /$file || fail "$file with DESTDIR"
	[ "$(stat -c %a $DIR/package/$file)" = "$(stat -c %a /$file)" ] || fail "mode of $file"
done
[ "$(cd $DIR/package && find -type f | wc -l)" = 24 ] || fail "files with DESTDIR: $(cd $DIR/package && find)"

# Where Debian 12's bash-completion looks.
[ -s /usr/share/bash-completion/completions/dfaasctl ] || fail "completion for bash"

make install PREFIX=/usr/local DESTDIR=$DIR/local >/dev/null
[ -s $DIR/local/usr/local/share/zsh/site-functions/_dfaasctl ] || fail "completion in /usr/local"
grep -h ^ExecStart= $DIR/local/usr/local/lib/systemd/system/*.service | grep -v =/usr/local/bin/ && fail "PREFIX in the units"
[ ! -e $DIR/local/usr/bin ] || fail "PREFIX"

sed -i 's/^default_maxrate: .*/default_maxrate: 77/' /etc/dfaas/controller.yaml
make install | grep 'dfaasctl keygen' >/dev/null || fail "the next steps"
grep -q '^default_maxrate: 77$' /etc/dfaas/controller.yaml || fail "an existing controller.yaml was replaced"
make install BIN=$DIR/none DESTDIR=$DIR/none 2>&1 | grep -q 'run make build first' || fail "nothing built"
[ ! -e $DIR/none ] || fail "it installs half of it"
`

// checkTaken begins what is done with the port taken. HAProxy serves a site
// meanwhile.
const checkTaken = `
cp /etc/default/haproxy $DIR/before.default
haproxy=$(cat /run/haproxy.pid)
python3 -m http.server --bind 127.0.0.1 8180 >$DIR/site.log 2>&1 &
site=$!
until curl -s -o /dev/null http://127.0.0.1:8180/; do sleep 0.1; done
( set -e
`

// checkNotRestarted: with the port taken, HAProxy is as it was.
const checkNotRestarted = `
[ "$(cat /run/haproxy.pid)" = $haproxy ] && kill -0 $haproxy || fail "HAProxy was stopped"
dfaasctl check-haproxy >$DIR/check.log && fail "check-haproxy finds nothing"
grep -q "^FAIL  DFAAS_BIND: 0.0.0.0:8180 is taken by python3.*, process $site: HAProxy will not start" $DIR/check.log || fail "check-haproxy: who listens"
dfaasctl doctor | grep -q "^FAIL  haproxy's next start: .*is taken by python3" || fail "doctor: who listens"
kill $site
while kill -0 $site 2>/dev/null; do sleep 0.05; done
cp $DIR/before.default /etc/default/haproxy
`

const checkNoIdentity = `
cmp /etc/default/haproxy $DIR/stock.default || fail "settings were written without an identity"
`

const checkDropIn = `
[ "$(stat -c '%a %G' /run/haproxy/admin.sock)" = "660 haproxy" ] || fail "runtime socket"
[ "$(curl -s -d served http://127.0.0.1:8180/function/echo)" = served ] || fail "function call"
[ "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8180/system/functions)" = 404 ] || fail "the gateway's API is open"
curl -si http://127.0.0.1:8180/function/echo | grep -qi "^dfaas-node-id: $ID" || fail "DFaaS-Node-ID"
curl -s http://127.0.0.1:8404/metrics | grep -q be_dfaas_peers || fail "metrics"
# HAProxy finds the agent from inside its chroot, and the controller finds HAProxy.
until curl -s 'http://127.0.0.1:8404/;csv' | grep -q '^be_dfaas_spoa,spoa,.*,UP,.*,L7OK'; do sleep 0.1; done
until dfaasctl status | grep -q '^haproxy *ok' && dfaasctl functions | grep -q '^echo *ready'; do sleep 0.1; done
`

const switchToTLS = `
sed -i '/^http_address:/d' /etc/dfaas/controller.yaml
cat $DIR/tls.yaml >> /etc/dfaas/controller.yaml
install -d -m 750 -o dfaas -g dfaas $TLS
cp /etc/default/haproxy $DIR/before.default
haproxy=$(cat /run/haproxy.pid)
`

// checkNoTLS: without usable certificates nothing has changed for HAProxy.
const checkNoTLS = `
cmp /etc/default/haproxy $DIR/before.default || fail "HAProxy was given a port without certificates"
[ "$(cat /run/haproxy.pid)" = $haproxy ] || fail "HAProxy was restarted without certificates"
[ "$(curl -s -d served http://127.0.0.1:8180/function/echo)" = served ] || fail "function call"
`

const checkTLS = `
[ "$(cat /run/haproxy.pid)" != $haproxy ] || fail "HAProxy was not restarted"
(set -a; . /etc/default/haproxy; haproxy -W -c -f /etc/haproxy/haproxy.cfg $EXTRAOPTS 2>&1) | grep WARNING && fail "warnings with TLS"
[ "$(curl -sk --cert $TLS/node.pem https://127.0.0.1:8443/healthz)" = ok ] || fail "TLS with this node's certificate"
curl -sk -o /dev/null https://127.0.0.1:8443/healthz && fail "TLS without a certificate"
[ "$(curl -s -d served http://127.0.0.1:8180/function/echo)" = served ] || fail "users"
[ "$(curl -s -o /dev/null -w '%{http_code}' -H "DFaaS-Node-ID: $ID" -H "DFaaS-Token: a.b.c" http://127.0.0.1:8180/function/echo)" = 403 ] ||
	fail "a peer on the port for users"
`

const checkOwnFrontend = `
env -i /usr/sbin/haproxy -W -c -f /etc/haproxy/haproxy.cfg || fail "the configuration is not valid by itself"
mv /etc/default/haproxy $DIR/lost.default
cp $DIR/stock.default /etc/default/haproxy
systemctl restart haproxy
[ "$(curl -s http://127.0.0.1/function/echo)" = the-site ] || fail "the site, without the settings"
mv $DIR/lost.default /etc/default/haproxy
systemctl restart haproxy
until curl -s 'http://127.0.0.1:8404/;csv' | grep -q '^be_dfaas_spoa,spoa,.*,UP,.*,L7OK'; do sleep 0.1; done
haproxy -c -f /etc/haproxy/haproxy.cfg -f /etc/haproxy/dfaas.cfg 2>&1 | grep -q WARNING && fail "warnings"
[ "$(curl -s -d served http://127.0.0.1/function/echo)" = served ] || fail "function call through the own frontend"
[ "$(curl -s http://127.0.0.1/healthz)" = ok ] || fail "health through the own frontend"
[ "$(curl -s http://127.0.0.1/other)" = the-site ] || fail "the site"
[ "$(curl -s http://127.0.0.1/system/functions)" = the-site ] || fail "the gateway's API"
curl -si http://127.0.0.1/function/echo | grep -qi "^x-server: $(hostname -s):80" || fail "X-Server"
curl -s http://127.0.0.1:8080/system/functions -d '{"service":"env","image":"env"}'
until curl -sf -o /dev/null http://127.0.0.1/function/env; do sleep 0.1; done
[ "$(curl -s -H 'X-Forwarded-Proto: https' http://127.0.0.1/function/env | grep -i X_Forwarded_Proto)" = Http_X_Forwarded_Proto=http ] || fail "a user's X-Forwarded-Proto"
curl -s -o /dev/null http://127.0.0.2:8180/healthz && fail "fe_dfaas is still on every address"
`

const checkRemoved = `
cmp /etc/haproxy/haproxy.cfg $DIR/stock.cfg
curl -s -o /dev/null http://127.0.0.1:8180/healthz && fail "fe_dfaas is still there"
grep -i dfaas /etc/default/haproxy && fail "traces in /etc/default/haproxy"
find /etc/haproxy /etc/systemd /usr -xdev -name '*dfaas*' | grep . && fail "traces"
pgrep -a dfaas && fail "still running"
find /var/lib/haproxy/dfaas /run/dfaas -type f | grep . && fail "files that the page does not name"
[ -s /var/lib/dfaas/identity.key ] && [ -s /etc/dfaas/federation.key ] || fail "the identity or the key is gone"
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
		haproxy.EnvNodeID, haproxy.EnvGateway, haproxy.EnvStats, haproxy.EnvSPOA + "=unix@", haproxy.EnvBind, haproxy.EnvPeerConnect, haproxy.EnvMaxHeaders, haproxy.EnvMaxFields, haproxy.EnvProxies, haproxy.EnvInstance,
		haproxy.EnvTLSBind, haproxy.EnvTLSDir, haproxy.CertificateFile, haproxy.AnchorsFile, haproxy.BackendLocal, haproxy.BackendPeers, haproxy.BackendSPOA, haproxy.FrontendUsers,
		fmt.Sprintf("var(%s) -m str %s", haproxy.VarAction, haproxy.ActionPeer),
	} {
		if !strings.Contains(string(page), name) {
			t.Errorf("docs/install.md does not mention %s", name)
		}
	}
}
