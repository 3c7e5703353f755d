#!/bin/sh
# test.sh: builds the image, and takes the federation of docker-compose.yml through a forged peer, a node that is killed, and one that
# is cut off. It leaves nothing but the image.
set -eu
cd "$(dirname "$0")/../.."
if ! docker info >/dev/null 2>&1; then
	echo "compose: no Docker engine can be reached; nothing was tested"
	exit 0
fi
if docker-compose version >/dev/null 2>&1; then tool=docker-compose; else tool="docker compose"; fi
project=dfaas-test
compose() { $tool -p $project -f deploy/compose/docker-compose.yml "$@"; }
say() { echo "compose: $*"; }
fail() { say "FAILED: $*" >&2; compose ps >&2; compose logs --tail=20 >&2; exit 1; }
clean() { compose down -v -t 15 >/dev/null 2>&1 || true; }
container() { compose ps -q "$1"; }
trap clean EXIT
trap 'exit 130' INT TERM

# until SECONDS WHAT COMMAND...: waits until the command succeeds.
until_() {
	end=$(($(date +%s) + $1)) what=$2
	shift 2
	until "$@"; do
		[ "$(date +%s)" -lt "$end" ] || fail "waited in vain until $what"
		sleep 0.3
	done
}
alive() { # NODE COUNT: it sees so many peers, their servers up
	[ "$(compose exec -T "$1" dfaasctl peers 2>/dev/null | grep -c ' alive .* up ')" -eq "$2" ]
}
# calls NODE COUNT FILE: the status and the executing node of calls, 20 a second.
calls() {
	for _ in $(seq "$2"); do
		curl -s -o /dev/null -m 10 -d hello -w '%{http_code} %header{dfaas-node-id}\n' "http://127.0.0.1:808$1/function/cat" >>"$3" &
		sleep 0.05
	done
	wait
}
served() { grep -c '^200 ' "$1" || true; }
nodes() { grep '^200 ' "$1" | sort -u | wc -l; }

docker image inspect debian:12-slim golang:1.26-bookworm >/dev/null 2>&1 || deploy/compose/base.sh
say "building the image"
docker build -q --network host -t dfaas-node --build-arg "VERSION=$(git describe --tags --always 2>/dev/null || echo unknown)" \
	-f deploy/compose/Dockerfile . >/dev/null
size=$(docker image inspect -f '{{.Size}}' dfaas-node)
say "image of $((size / 1000000)) MB"

clean
out=$(mktemp -d)
compose up -d >"$out/up" 2>&1 || { cat "$out/up" >&2; fail "up"; }
for node in node-1 node-2 node-3; do until_ 60 "$node sees its peers" alive $node 2; done
say "three nodes are up and see one another"

DFAAS_COMPOSE="$tool -p $project" deploy/compose/deploy.sh cat --label dfaas.maxrate=10 >/dev/null
until_ 20 "cat can be called" curl -sf -o /dev/null -d hello http://127.0.0.1:8081/function/cat
sleep_until_full() { compose exec -T node-1 dfaasctl routes cat | grep -q ' out '; }
until_ 20 "node-1 has routes to its peers" sleep_until_full
calls 1 60 "$out/surplus"
[ "$(served "$out/surplus")" -eq 60 ] || fail "of 60 calls at 20/s, where a node serves 10/s, $(served "$out/surplus") were served"
[ "$(nodes "$out/surplus")" -ge 2 ] || fail "all 60 calls were served by one node"
say "60 calls at 20/s, where a node serves 10/s: all served, by $(nodes "$out/surplus") nodes"

status=$(curl -s -o /dev/null -w '%{http_code}' -H 'DFaaS-Node-ID: malicious-id' http://127.0.0.1:8081/function/cat)
[ "$status" = 403 ] || fail "a forged peer got $status"
say "a forged peer got 403"

docker kill "$(container node-2)" >/dev/null
calls 1 40 "$out/killed"
[ "$(served "$out/killed")" -eq 40 ] || fail "while node-2 was killed, $(served "$out/killed") of 40 calls were served"
docker start "$(container node-2)" >/dev/null
for node in node-1 node-2 node-3; do until_ 60 "$node sees node-2 again" alive $node 2; done
say "node-2 was killed and started again: no call was lost"

docker network disconnect ${project}_edge "$(container node-3)"
until_ 30 "node-1 sees that node-3 is gone" alive node-1 1
calls 1 20 "$out/cut"
[ "$(served "$out/cut")" -ge 18 ] || fail "while node-3 was cut off, $(served "$out/cut") of 20 calls were served"
docker network connect --ip 172.28.10.13 ${project}_edge "$(container node-3)"
for node in node-1 node-2 node-3; do until_ 90 "$node and node-3 see each other" alive $node 2; done
say "node-3 was cut off and came back"

compose down -v -t 15 >/dev/null 2>&1
left=$(docker ps -aq --filter label=com.docker.compose.project=$project; docker volume ls -q --filter label=com.docker.compose.project=$project
	docker network ls -q --filter label=com.docker.compose.project=$project)
[ -z "$left" ] || fail "down has left: $left"
rm -rf "$out"
say "down has left nothing: all held"
