#!/bin/sh
# base.sh: makes the two images that the Dockerfile starts from, where no registry can be reached: Debian by debootstrap, and Go from
# this machine. As root.
set -eu
have() { docker image inspect "$1" >/dev/null 2>&1 || docker pull -q "$1" >/dev/null 2>&1; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
if ! have debian:12-slim; then
	echo "debian:12-slim cannot be pulled: making it by debootstrap"
	debootstrap --variant=minbase bookworm "$dir/debian" >"$dir/log" || { tail "$dir/log" >&2; exit 1; }
	cp /etc/ssl/certs/ca-certificates.crt "$dir/debian/etc/ssl/certs/" 2>/dev/null || true
	rm -rf "$dir"/debian/var/cache/apt/archives/*.deb "$dir"/debian/var/lib/apt/lists/* "$dir"/debian/usr/share/doc "$dir"/debian/usr/share/locale
	tar -C "$dir/debian" -c . | docker import - debian:12-slim >/dev/null
fi
if ! have golang:1.26-bookworm; then
	echo "golang:1.26-bookworm cannot be pulled: making it from $(go env GOROOT)"
	mkdir "$dir/go"
	cp -r "$(go env GOROOT)" "$dir/go/go"
	cp /etc/ssl/certs/ca-certificates.crt "$dir/go/" # what this machine trusts
	cat >"$dir/go/Dockerfile" <<-'END'
		FROM debian:12-slim
		COPY ca-certificates.crt /etc/ssl/certs/
		COPY go /usr/local/go
		ENV PATH=/usr/local/go/bin:/usr/bin:/bin:/usr/sbin:/sbin
	END
	docker build -q -t golang:1.26-bookworm "$dir/go" >/dev/null
fi
