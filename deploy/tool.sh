#!/bin/sh
# tool.sh MODULE/COMMAND@VERSION: prints the path of the Go program, having installed it below out/tools if it is not there yet. On failure
# it prints why, in one line, on stderr.
set -u
: "${GO:=go}"
cd "$(dirname "$0")/.." || exit 1
tools=$PWD/out/tools version=${1##*@}
name=${1%@*}
name=${name##*/}
if ! [ -x "$tools/$name-$version" ]; then
	# Into a directory of its own: another run may be installing it at the same time.
	mkdir -p "$tools" && new=$(mktemp -d "$tools/new-XXXXXX") || exit 1
	trap 'rm -rf "$new"' EXIT
	if ! reason=$(GOWORK=off GOFLAGS=-mod=mod GOBIN=$new "$GO" install "$1" 2>&1); then
		echo "$name $version cannot be had: $(echo "$reason" | tail -n 1)" >&2
		exit 1
	fi
	mv "$new/$name" "$tools/$name-$version" || exit 1
fi
echo "$tools/$name-$version"
