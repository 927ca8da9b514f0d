#!/bin/bash
# kvm-install.sh: what a real libvirt/QEMU host and the guest image builder need, from Debian's
# packages. Quick when all of it is there.
set -euo pipefail
packages=(qemu-system-x86 qemu-utils libvirt-daemon-system libvirt-daemon-driver-qemu libvirt-clients
    genisoimage iproute2 util-linux gcc libc6-dev
    syslinux syslinux-common mtools dosfstools fdisk lz4 cpio python3-minimal)
missing=()
for p in "${packages[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
done
[ ${#missing[@]} -gt 0 ] || exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get -o DPkg::Lock::Timeout=900 -qq update
apt-get -o DPkg::Lock::Timeout=900 -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
