#!/bin/sh
# deploy.sh FUNCTION [--label dfaas.maxrate=20 ...]: deploys a function at every node that is up, with the options of `dfaasctl deploy`.
# DFAAS_COMPOSE is the command, if it is not docker-compose or docker compose.
set -eu
tool=${DFAAS_COMPOSE:-}
[ -n "$tool" ] || { tool=docker-compose; docker-compose version >/dev/null 2>&1 || tool="docker compose"; }
compose() { $tool -f "$(dirname "$0")/docker-compose.yml" "$@"; }
for node in $(compose ps --services | grep '^node-' | sort); do
	echo "$node:"
	compose exec -T "$node" dfaasctl deploy "$@"
done
