#!/bin/bash
# kvm-suite.sh [flags of go test]: the tests of compute/libvirt on a real libvirtd that boots real guests,
# emulated (no KVM is needed). Installs what is missing, and ends and removes all that it started. Run as root.
#
# CACHE (default: nubecula in the user's cache directory) keeps packages and the guest image between runs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" = 0 ] || { echo "SKIP: kvm-suite needs root, for libvirt"; exit 0; }
command -v apt-get >/dev/null || { echo "SKIP: kvm-suite needs apt-get, to install libvirt and QEMU"; exit 0; }
cache=${CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/nubecula}
"$here/kvm-install.sh"
"$here/guest-image.sh" "$cache/guest" "$cache/packages"

work=$(mktemp -d "${TMPDIR:-/tmp}/nubecula-kvm.XXXXXX")
chmod 0755 "$work" # QEMU's user has to get through
export STATE=$work/host
trap '"$here/kvm-host.sh" down; rm -rf "$work"' EXIT
NUBECULA_LIBVIRT_URI=$("$here/kvm-host.sh" up)
export NUBECULA_LIBVIRT_URI NUBECULA_LIBVIRT_STATE=$work/guests NUBECULA_LIBVIRT_BRIDGE=br0
export NUBECULA_GUEST_IMAGE=$cache/guest/guest.qcow2 NUBECULA_KVM_HOST=$here/kvm-host.sh
cd "$here/../.."
go test -count=1 ./internal/configdrive ./internal/imageformat # by isoinfo and qemu-img, without which some of them are skipped
CGO_ENABLED=1 go test -count=1 -timeout 40m -tags libvirt,libvirt_dlopen "$@" ./compute/libvirt
