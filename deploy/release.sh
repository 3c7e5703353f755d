#!/bin/sh
# release.sh DIR: the programs of a node for each ARCH (amd64 arm64) in DIR, each with a list of the modules that it is made of (CycloneDX)
# beside it, and SHA256SUMS. What is built twice of one commit, with one version of Go, is the same to the last byte, wherever that is; so this
# builds twice, from two directories, and fails if it is not.
set -eu
out=${1:?give a directory} version=v1.10.0
: "${GO:=go}" "${VERSION:=unknown}" "${ARCH:=amd64 arm64}"
programs="spoa/cmd/dfaas-spoa controller/cmd/dfaas-controller controller/cmd/dfaasctl faasd/cmd/dfaas-provider"
cd "$(dirname "$0")/.."
[ -z "$(git status --porcelain --untracked-files=no)" ] || { echo "release: there are changes that are not committed: a release is of a commit" >&2; exit 1; }
mkdir -p "$out"
out=$(cd "$out" && pwd)
rm -f "$out"/SHA256SUMS "$out"/dfaas*
again=$(mktemp -d)
trap 'rm -rf "$again"' EXIT
trap 'exit 130' INT TERM
git archive HEAD | tar -C "$again" -x

# build FROM TO PACKAGE
build() { (cd "$1" && GOWORK=off CGO_ENABLED=0 GOOS=linux GOARCH=$arch "$GO" build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o "$2" "./$3"); }

lister=$(deploy/tool.sh "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@$version")
for arch in $ARCH; do
	for package in $programs; do
		name=${package##*/}-linux-$arch
		build . "$out/$name" "$package"
		build "$again" "$again/$name" "$package"
		cmp "$out/$name" "$again/$name" || { echo "release: $name is not the same when it is built again" >&2; exit 1; }
		"$lister" bin -json -output "$out/$name.cdx.json" -version "$VERSION" "$out/$name" >/dev/null
		echo "release: $name, $(wc -c <"$out/$name") bytes, $(grep -c '"purl"' "$out/$name.cdx.json") modules"
	done
done
(cd "$out" && sha256sum dfaas* >SHA256SUMS)
echo "release: $out"
