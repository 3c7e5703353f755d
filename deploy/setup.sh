#!/bin/sh
# Installs what DFaaS needs besides Go: the Debian packages that are missing,
# and nothing else. Does nothing, and needs no privileges, when all are there.
#
# Usage: deploy/setup.sh COMMAND=PACKAGE ...
set -eu

missing=
for pair in "$@"; do
	command=${pair%%=*} package=${pair#*=}
	PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null 2>&1 || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

command -v apt-get >/dev/null 2>&1 || {
	echo "setup: please install these packages:$missing (there is no apt-get here to do it)" >&2
	exit 1
}
sudo=
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null 2>&1 || {
		echo "setup: missing packages:$missing; run as root: apt-get install$missing" >&2
		exit 1
	}
	sudo=sudo
fi
echo "setup: installing$missing" >&2
$sudo apt-get update -qq
# The haproxy package starts a service where there is an init system; the demo
# and the tests run their own processes and leave that service alone.
# shellcheck disable=SC2086 # one word per package
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
