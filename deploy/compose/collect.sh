#!/bin/sh
# collect.sh DIR: copies to DIR what of this Debian goes into the image: programs, the libraries that they are linked with, fonts.
set -eu
to=$1
mkdir -p "$to"/bin "$to"/etc "$to"/usr/bin "$to"/usr/share "$to"/tmp "$to"/run/dfaas "$to"/federation "$to"/var/lib/dfaas "$to"/var/lib/dfaas-provider
chmod 1777 "$to/tmp"

for program in /usr/sbin/haproxy /usr/bin/runsv /usr/bin/runsvdir /usr/bin/sv /usr/bin/figlet; do
	cp -L "$program" "$to/usr/bin/"
	ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
		mkdir -p "$to$(dirname "$library")"
		cp -L "$library" "$to$library"
	done
done
cp -rL /usr/share/figlet "$to/usr/share/figlet"

# The shell, and the commands of the provider's catalogue.
cp -L /bin/busybox "$to/bin/busybox"
for name in sh cat env sha512sum sha256sum md5sum wc sort tac base64 hostname date true uname sleep wget cp mkdir kill; do
	ln "$to/bin/busybox" "$to/bin/$name"
done
for name in cat env sha512sum sha256sum md5sum wc sort tac base64 hostname date true uname sleep; do
	ln "$to/bin/busybox" "$to/usr/bin/$name"
done

echo 'root:x:0:0::/:/bin/sh
dfaas:x:1000:1000::/var/lib/dfaas:/bin/sh' > "$to/etc/passwd"
echo 'root:x:0:
dfaas:x:1000:' > "$to/etc/group"
