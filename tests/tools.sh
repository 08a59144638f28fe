#!/bin/sh
# See to it that the programs are there that the tests compare with: as PROGRAM=PACKAGE of Debian.
# Root gets them installed, others are told what to install.
PATH="$PATH:/usr/sbin:$(echo /usr/lib/postgresql/*/bin | tr ' ' :)"
missing=
for needed in avahi-browse=avahi-utils avahi-daemon=avahi-daemon chromium=chromium curl=curl \
	initdb=postgresql ip=iproute2 nginx=nginx npm=npm openssl=openssl; do
	command -v "${needed%=*}" >/dev/null || missing="$missing ${needed#*=}"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "the tests need more programs (Debian: apt-get install$missing)"
	exit 1
fi
echo "installing$missing …"
# shellcheck disable=SC2086 - a list of words
apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y $missing >/dev/null
