#!/bin/bash
# Installs the Debian packages the tests use, when this user may; otherwise says which are missing and how to get them.
# With the word hosts, those of `make hosts` as well.
set -eu
declare -A wanted=(
    [/usr/lib/postgresql/*/bin/initdb]=postgresql
    [/usr/bin/setpriv]=util-linux
    [/usr/bin/chromium]=chromium
    [/usr/bin/baresip]=baresip-core
    [/usr/bin/sipp]=sip-tester
    [/usr/sbin/debootstrap]=debootstrap
    [/usr/bin/tcpdump]=tcpdump
    [/usr/sbin/pgbouncer]=pgbouncer
    [/usr/sbin/nginx]=nginx-light
    [/usr/bin/caddy]=caddy
    [/usr/bin/systemd-analyze]=systemd
    [/usr/bin/promtool]=prometheus
)
[ "${1:-}" = hosts ] && wanted+=(
    [/usr/bin/etcd]=etcd-server
    [/usr/bin/patroni]=patroni
    [/usr/lib/python3/dist-packages/etcd/__init__.py]=python3-etcd
    [/usr/sbin/haproxy]=haproxy
    [/usr/sbin/ip]=iproute2
)
missing=()
for file in "${!wanted[@]}"; do
    compgen -G "$file" >/dev/null || missing+=("${wanted[$file]}")
done
[ ${#missing[@]} -eq 0 ] && exit 0

sudo=
if [ "$(id -u)" -ne 0 ]; then
    sudo="sudo -n"
    $sudo true 2>/dev/null || sudo=none
fi
if [ "$sudo" = none ] || ! command -v apt-get >/dev/null; then
    echo "The tests need programs that are missing here. Install them as root, then run this again:" >&2
    echo "    apt-get install -y --no-install-recommends ${missing[*]}" >&2
    exit 1
fi
echo "installing ${missing[*]} …"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -q >/dev/null
$sudo apt-get install -q -y --no-install-recommends "${missing[@]}" >/dev/null
