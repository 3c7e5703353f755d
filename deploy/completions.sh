#!/bin/sh
# completions.sh BIN PACKAGE...: writes what bash, zsh and fish complete the commands in BIN with, into BIN/completions. Commands
# that were built for another machine are built once more for this one.
set -eu
bin=$1
dir=$bin/completions
shift
mkdir -p "$dir"
for package; do
	name=${package##*/}
	for shell in bash zsh fish; do
		"$bin/$name" completion "$shell" >"$dir/.tmp" 2>/dev/null ||
			GOOS='' GOARCH='' ${GO:-go} run "$package" completion "$shell" >"$dir/.tmp"
		mv "$dir/.tmp" "$dir/$name.$shell"
	done
done
