#!/bin/bash
# kvm-lab.sh: a real guest through the lab. It builds the small guest image, starts a private libvirtd, runs
# lab -hypervisor libvirt, and uses the openstack command as a user would; then it restarts libvirtd and kills the
# lab with -9 in the middle of a boot. Times are generous: the guest runs under emulation on a shared machine.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" = 0 ] || { echo "SKIP: kvm-lab needs root, for libvirt"; exit 0; }
command -v apt-get >/dev/null || { echo "SKIP: kvm-lab needs apt-get, to install libvirt and QEMU"; exit 0; }
bash "$root/internal/real/kvm-install.sh"
need openstack python3-openstackclient
work=$(mktemp -d /var/tmp/nubecula-kvm.XXXXXX)
chmod 755 "$work"
cache=${XDG_CACHE_HOME:-/var/cache}/nubecula
host() { STATE=$work/host bash "$root/internal/real/kvm-host.sh" "$@"; }
lab=
cleanup() {
    [ -z "$lab" ] || kill "$lab" 2>/dev/null || true
    wait 2>/dev/null || true
    host down >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap cleanup EXIT
bash "$root/internal/real/guest-image.sh" "$cache/guest" "$cache/debs" >/dev/null
(cd "$root" && CGO_ENABLED=1 go build -tags libvirt,libvirt_dlopen -o "$work/lab" ./examples/lab)
uri=$(host up | tail -n 1)
export OS_CLIENT_CONFIG_FILE=$work/data/clouds.yaml HOME=$work

start() {
    "$work/lab" -listen "127.0.0.1:${port:-0}" -data "$work/data" -hypervisor libvirt -uri "$uri" -virt-type qemu >>"$work/out" 2>>"$work/log" &
    lab=$!
    until_true 120 grep -q 'Nubecula is up' "$work/out" || { cat "$work/out" "$work/log"; exit 1; }
    port=$(sed -n 's#^export OS_AUTH_URL=http://127.0.0.1:\([0-9]*\)/v3#\1#p' "$work/data/openrc")
}
demo() { openstack --os-cloud lab "$@"; }
status() { demo server show "$1" -f value -c status; }
console() { demo console log show "$1"; }
boots() { console "$1" | grep -c GUEST-BOOT; }
domains() { virsh -q -c "$uri" list --name "$@" | grep -c . || true; }
start

check "image create" has 'guest' demo image create --disk-format qcow2 --container-format bare --file "$cache/guest/guest.qcow2" guest
demo keypair create key1 >"$work/id"
check "keypair show" has 'key1' demo keypair show key1
printf '#!/bin/sh\necho "user data says $((6 * 7))"\n' >"$work/user-data"
check "server create --wait" has 'ACTIVE' demo server create --flavor m1.micro --image guest --network private --key-name key1 --user-data "$work/user-data" --wait vm1
check "it has an address" has 'private=10\.0\.|10\.0\.' demo server show vm1 -f value -c addresses
check "libvirt runs one domain" same 1 domains
check "console: GUEST-READY" until_true 240 has 'GUEST-READY' console vm1
check "console: the host name" has 'GUEST-READY host=vm1' console vm1
check "console: the user data's output" has 'GUEST-USERDATA user data says 42' console vm1
check "console: the key" has 'GUEST-META.*(ssh-|ecdsa-)' console vm1
check "server stop" demo server stop vm1
check "it is SHUTOFF" until_true 180 same SHUTOFF status vm1
check "no domain runs" same 0 domains
check "server start" demo server start vm1
check "it is ACTIVE" until_true 60 same ACTIVE status vm1
ready_again() { [ "$(console vm1 | grep -c GUEST-READY)" -ge "$1" ]; }
check "it boots again" until_true 240 ready_again 2
check "server reboot --wait" demo server reboot --wait vm1
check "it boots a third time" until_true 240 ready_again 3
check "server reboot --hard --wait" demo server reboot --hard --wait vm1

# --- libvirtd restarts: guests go on, and so do we
host kill
host start >/dev/null
check "libvirtd restarted: vm1 is ACTIVE" until_true 60 same ACTIVE status vm1
check "libvirtd restarted: a server boots" has 'ACTIVE' demo server create --flavor m1.nano --image guest --network private --wait vm2

# --- the lab is killed in the middle of a boot
demo server create --flavor m1.nano --image guest --network private vm3 >/dev/null
kill -9 "$lab"
wait "$lab" 2>/dev/null || true
: >"$work/out"
start
check "lab killed: vm3 arrives" until_true 180 same ACTIVE status vm3
check "lab killed: one domain for each server" same 3 domains

# --- libvirtd is killed in the middle of a boot
demo server create --flavor m1.nano --image guest --network private vm4 >/dev/null
host kill
sleep 2
host start >/dev/null
check "libvirtd killed: vm4 arrives" until_true 180 same ACTIVE status vm4
check "server delete --wait" demo server delete --wait vm1 vm2 vm3 vm4
check "no domain is left" same 0 domains --all
check "no disk is left" same 0 bash -c "find '$work'/data/libvirt/*/guests -mindepth 1 -name '*.qcow2' 2>/dev/null | wc -l"
kill -INT "$lab"
ended=0
wait "$lab" || ended=$?
lab=
check "Ctrl-C ends it cleanly" same 0 echo "$ended"
[ "$failed" = 0 ] || tail -n 40 "$work/log"
summary kvm-lab
