#!/bin/sh
# The units under a real systemd: is what hangs for ever restarted, does the journal know what is a warning, and do functions have
# users of their own with what docs/provider.md adds to the provider's?
# It boots a Debian of its own in a container, made once in $TREE (about two minutes and 350 MB), with what `make install` put
# there. Needs root, systemd-nspawn and debootstrap. Usage: deploy/systemd/watchdog.sh
set -eu
cd "$(dirname "$0")/../.."
TREE=${TREE:-/var/tmp/dfaas-systemd}
RESULT=$TREE/root/result

if [ ! -e "$TREE/.made" ]; then
    rm -rf "$TREE"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus bookworm "$TREE" >"$TREE.log" 2>&1 ||
        { tail -5 "$TREE.log"; exit 1; }
    touch "$TREE/.made"
fi
make --no-print-directory install DESTDIR="$TREE" PREFIX=/usr >/dev/null
echo 'g haproxy -' >"$TREE/usr/lib/sysusers.d/haproxy.conf"
echo 'd /var/lib/haproxy 0755 root root' >"$TREE/usr/lib/tmpfiles.d/0-haproxy.conf"
cat >"$TREE/etc/dfaas/controller.yaml" <<YAML
http_address: 127.0.0.1:8081
open_federation: true
mdns: false
listen: [/ip4/127.0.0.1/tcp/31600]
YAML

# What `systemctl edit dfaas-provider` is given, as the page says, and what lets the test say what functions run.
rm -rf "$TREE/root/edit"
mkdir -p "$TREE/root/edit"
awk '/^```ini/ { inside = 1; next } /^```/ { inside = 0 } inside' docs/provider.md >"$TREE/root/edit/users.conf"
grep -q FUNCTION_USERS "$TREE/root/edit/users.conf" || { echo "docs/provider.md does not say how functions get users"; exit 1; }
echo DFAAS_PROVIDER_OPTIONS=--allow-processes >"$TREE/etc/default/dfaas-provider"

# Inside, the test is a service of its own, which ends the container.
cat >"$TREE/root/test" <<'SH'
#!/bin/sh
fail() { echo "FAIL: $*"; failed=1; }
failed=0
units="dfaas-spoa dfaas-controller dfaas-provider"
for unit in $units; do
    # Type=notify: this returns when the program has said that it is ready.
    timeout 60 systemctl start $unit || fail "$unit does not start: $(journalctl -u $unit -o cat | tail -3)"
done
for unit in $units; do
    eval "pid_$(echo $unit | tr - _)=$(systemctl show -P MainPID $unit)"
    kill -STOP "$(systemctl show -P MainPID $unit)" || fail "$unit does not run"
done
start=$(date +%s)
for unit in $units; do
    eval "old=\$pid_$(echo $unit | tr - _)"
    while :; do
        now=$(systemctl show -P MainPID $unit)
        [ "$now" != "$old" ] && [ "$now" != 0 ] && [ "$(systemctl is-active $unit)" = active ] && break
        [ $(($(date +%s) - start)) -lt 90 ] || { fail "$unit still hangs after 90 s"; break; }
        sleep 0.5
    done
    journalctl -u $unit -o cat | grep -q 'Watchdog timeout' || fail "$unit was not ended by the watchdog"
    journalctl -u $unit -o cat | grep -q 'goroutine ' || fail "the journal does not say where $unit hung"
    echo "$unit: hung, restarted and ready again after $(($(date +%s) - start)) s or less; $(systemctl show -P NRestarts $unit) restart"
done
# A controller without peers warns once that anybody may join; that it runs is no warning.
journalctl --no-pager -u dfaas-controller -p warning -o cat | grep -q open_federation || fail "a warning has another priority"
journalctl --no-pager -u dfaas-controller -p warning -o cat | grep -q 'dfaas-controller is running' && fail "no warning, but its priority"
journalctl --no-pager -u dfaas-controller -o cat | grep -q '"time"' && fail "the journal has a second time"
# The provider's unit lets it confine functions.
journalctl --no-pager -u dfaas-provider -o cat | grep 'not confined' && fail "functions are not confined"

# Each function has a user of its own, and nothing of the provider's.
mkdir -p /etc/systemd/system/dfaas-provider.service.d
cp /root/edit/users.conf /etc/systemd/system/dfaas-provider.service.d/override.conf
systemctl daemon-reload
timeout 60 systemctl restart dfaas-provider || fail "dfaas-provider does not start: $(journalctl -u dfaas-provider -o cat | tail -3)"
request() { # METHOD PATH BODY
    bash -c 'exec 3<>/dev/tcp/127.0.0.1/8080
        printf "%s %s HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %s\r\n\r\n%s" "$1" "$2" "${#3}" "$3" >&3
        cat <&3' - "$@"
}
run() { request POST "/function/$1" "$2" | tr -d '\r' | sed '1,/^$/d'; }
request POST /system/secrets '{"name":"own","value":"the secret"}' | head -1 | grep -q ' 202' || fail "no secret is taken"
for name in one two; do
    secrets=[]; [ $name = one ] && secrets='["own"]'
    # What it is sent is what it does.
    request POST /system/functions '{"service":"'$name'","image":"mine","envProcess":"sh","secrets":'$secrets'}' | head -1 | grep -q ' 202' ||
        fail "$name is not deployed: $(journalctl -u dfaas-provider -o cat | tail -3)"
done
provider=$(systemctl show -P MainPID dfaas-provider)
users="$(stat -c %u /proc/$provider) $(run one 'id -u') $(run two 'id -u')"
echo "users of the provider and of two functions: $users"
echo "$users" | awk 'NF != 3 || $1 == 0 || $2 < 200000 || $2 > 265535 || $3 < 200000 || $3 > 265535 || $2 == $3 { exit 1 }' || fail "users are $users"
[ "$(run one 'cat $secret_mount_path/own')" = "the secret" ] || fail "a function does not read its secret: $(run one 'cat $secret_mount_path/own 2>&1')"
[ "$(run two 'grep -E "^Cap(Prm|Eff|Amb)" /proc/self/status | grep -c 0000000000000000')" = 3 ] || fail "a function has rights: $(run two 'grep Cap /proc/self/status')"
for attempt in "kill -9 $provider" "cat /proc/$provider/environ" "cat /var/lib/dfaas-provider/functions.json" \
    'cat /var/lib/dfaas-provider/mounts/*/own' 'cat /var/lib/dfaas-provider/secrets/*/own' 'ls /var/lib/dfaas-provider/mounts'; do
    [ "$(run two "$attempt >/dev/null 2>&1 && echo done || echo refused")" = refused ] || fail "a function may $attempt"
done
[ "$(systemctl show -P MainPID dfaas-provider)" = "$provider" ] || fail "the provider is gone"
journalctl --no-pager -u dfaas-provider -o cat | grep 'not confined' && fail "functions are not confined"
[ $failed = 0 ] && echo ok
SH
chmod +x "$TREE/root/test"
cat >"$TREE/etc/systemd/system/test.service" <<'UNIT'
[Service]
Type=oneshot
ExecStart=/bin/sh -c '/root/test >/root/result 2>&1; systemctl --no-block poweroff'
TimeoutStartSec=240
UNIT
mkdir -p "$TREE/etc/systemd/system/multi-user.target.wants"
ln -sf ../test.service "$TREE/etc/systemd/system/multi-user.target.wants/test.service"
rm -rf "$RESULT" "$TREE/var/log/journal"

timeout 300 systemd-nspawn --quiet --directory="$TREE" --boot --register=no --keep-unit --private-network \
    --system-call-filter="landlock_create_ruleset landlock_add_rule landlock_restrict_self" --machine="dfaas-$$" >"$TREE.log" 2>&1 </dev/null || true
cat "$RESULT" 2>/dev/null || { echo "the container did not get as far as the test:"; tail -5 "$TREE.log"; exit 1; }
tail -1 "$RESULT" | grep -qx ok
