#!/bin/sh
# deploy-functions.sh COUNT [PREFIX [SUFFIX [FUNCTION or OPTIONS of `dfaasctl deploy` ...]]]: deploys functions at the nodes that run in
# the containers PREFIX1SUFFIX to PREFIXnSUFFIX, at all of them at the same time. Without FUNCTION, these are figlet and shasum.
#
#     deploy/deploy-functions.sh 3 compose-node- -1                                     # as docker compose calls those of deploy/compose
#     deploy/deploy-functions.sh 3 compose_node- _1 figlet --label dfaas.maxrate=20     # as docker-compose 1 does
#     deploy/deploy-functions.sh 3 dfaas-node- -1 -f stack.yaml
#
# A container that does not run yet, and a gateway that does not answer, are tried TRIES times (20), EVERY seconds (10) apart.
# DOCKER is the command, if it is not docker. Exit codes: 0 all is deployed, 1 something is not, 2 it was called the wrong way.
set -u
: "${DOCKER:=docker}" "${TRIES:=20}" "${EVERY:=10}"

usage() {
	echo "deploy-functions: $*" >&2
	sed -n 's/^# \{0,1\}//p' "$0" | sed -n '2,3p' >&2
	exit 2
}
number() { # WHAT VALUE MOST
	case $2 in '' | *[!0-9]* | ??????*) usage "$1 \"$2\": a number from 1 to $3 is expected" ;; esac
	[ "$2" -ge 1 ] && [ "$2" -le "$3" ] || usage "$1 $2: a number from 1 to $3 is expected"
}
[ $# -ge 1 ] || usage "how many nodes?"
number COUNT "$1" 1000
number TRIES "$TRIES" 1000
number EVERY "$EVERY" 3600
count=$1 prefix=${2-dfaas-node-} suffix=${3--1}
shift $(($# < 3 ? $# : 3))
case $prefix$suffix in *[!A-Za-z0-9_.-]*) usage "\"$prefix\" and \"$suffix\": names of containers have letters, digits, _ . and -" ;; esac

# A stack file of this machine is not in the container: it is handed in.
stack=
if [ "${1-}" = -f ] || [ "${1-}" = --file ]; then
	[ $# -ge 2 ] && [ -r "$2" ] || usage "$1: the stack file ${2-} cannot be read"
	stack=$2
	shift 2
	set -- -f /dev/stdin "$@"
fi

out=$(mktemp -d) || exit 1
trap 'rm -rf "$out"' EXIT
trap 'kill $(jobs -p) 2>/dev/null; exit 130' INT TERM

running() { # CONTAINER: waits until it runs
	try=1
	until [ "$("$DOCKER" inspect -f '{{.State.Running}}' "$1" 2>"$out/$1.inspect")" = true ]; do
		[ "$try" -lt "$TRIES" ] || {
			echo "$1: it does not run: $(head -n 1 "$out/$1.inspect")" >&2
			return 1
		}
		echo "$1: it does not run (try $try of $TRIES, next in ${EVERY}s)" >&2
		try=$((try + 1))
		sleep "$EVERY"
	done
}
deploy() { # CONTAINER OPTIONS...
	container=$1
	shift
	"$DOCKER" exec -i "$container" dfaasctl deploy --tries "$TRIES" --every "${EVERY}s" "$@" <"${stack:-/dev/null}"
}
node() { # CONTAINER OPTIONS...
	running "$1" || return 1
	if [ $# -gt 1 ]; then
		deploy "$@"
		return
	fi
	deploy "$1" figlet && deploy "$1" shasum
}

i=1
while [ "$i" -le "$count" ]; do
	container=$prefix$i$suffix
	{ node "$container" "$@" >"$out/$container.out"; echo $? >"$out/$container.status"; } &
	i=$((i + 1))
done
wait
failed=0 i=1
while [ "$i" -le "$count" ]; do
	container=$prefix$i$suffix
	sed "s/^/$container: /" "$out/$container.out"
	[ "$(cat "$out/$container.status" 2>/dev/null)" = 0 ] || failed=$((failed + 1))
	i=$((i + 1))
done
[ "$failed" -eq 0 ] || {
	echo "deploy-functions: at $failed of $count nodes, not all is deployed" >&2
	exit 1
}
