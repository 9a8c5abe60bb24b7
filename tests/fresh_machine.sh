#!/bin/sh
# tests/fresh_machine.sh FOLDER USER COMMAND: run COMMAND as somebody who has just cloned this repository on a machine
# that has Python, make and Debian's essential packages, no more. As root, from the checkout:
#
#   tests/fresh_machine.sh /var/tmp/fresh root 'make demo'       # a clone in root's own home, of mode 0700
#   tests/fresh_machine.sh /var/tmp/fresh newcomer 'make demo'   # an ordinary user, whose umask is 077
#
# FOLDER becomes the machine's root file system (debootstrap; DEBIAN_MIRROR and DEBIAN_SUITE choose from where), which
# further runs use again; what is committed is cloned anew each time. Whatever COMMAND started ends with it. How this machine reaches package registries (files
# and variables of pip and uv, certificates) goes along.
set -eu
# Mounts and processes of its own, which end with it.
[ -n "${INSIDE:-}" ] || INSIDE=1 exec unshare --mount --pid --fork --kill-child "$0" "$@"
folder=$1 user=$2 command=$3
checkout=$(cd "$(dirname "$0")/.." && pwd)

if [ ! -x "$folder/usr/bin/make" ]; then
    debootstrap --variant=minbase --include=python3,python3-venv,make,ca-certificates \
        "${DEBIAN_SUITE:-bookworm}" "$folder" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"}
fi
for file in /etc/pip.conf /etc/uv/uv.toml /etc/ssl/certs/ca-certificates.crt /etc/resolv.conf /etc/hosts; do
    if [ -e "$file" ]; then
        mkdir -p "$folder${file%/*}"
        cp --dereference --remove-destination "$file" "$folder$file"
    fi
done
chroot "$folder" id newcomer >/dev/null 2>&1 || chroot "$folder" useradd --create-home newcomer
mount -t proc proc "$folder/proc"
mount --bind /dev "$folder/dev"
mount -t tmpfs -o mode=1777 tmpfs "$folder/dev/shm"  # only the superuser may write what the bind shows there

home=$(chroot "$folder" getent passwd "$user" | cut -d : -f 6)
chmod 700 "$folder$home"
rm -rf "$folder$home/calanque"
git clone --quiet "$checkout" "$folder$home/calanque"
chroot "$folder" chown -R "$user:" "$home/calanque"
kept=$(env | grep -E '^(PIP_|UV_|SSL_CERT_|REQUESTS_CA_BUNDLE|CALANQUE_QUIET|[A-Za-z_]*_proxy)' || true)
echo "$kept" | sed "s/'/'\\\\''/g; s/=\(.*\)/='\1'/; s/^./export &/" >"$folder/tmp/kept"
chroot "$folder" setpriv --reuid "$user" --regid "$(chroot "$folder" id -g "$user")" --init-groups \
    env -i HOME="$home" USER="$user" PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    sh -c "umask 077; . /tmp/kept; cd && cd calanque && $command"
