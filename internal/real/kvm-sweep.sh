#!/bin/bash
# kvm-sweep.sh: the lab and a real libvirtd that do not agree. Guests are stopped and undefined behind the lab's back, strangers
# are put next to them, the lab's directory is restored from an older copy, and an empty one is started next to a full host:
# nothing is deleted that should not be, the log says what is wrong, and the servers' states are true.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" = 0 ] || { echo "SKIP: kvm-sweep needs root, for libvirt"; exit 0; }
command -v apt-get >/dev/null || { echo "SKIP: kvm-sweep needs apt-get, to install libvirt and QEMU"; exit 0; }
bash "$root/internal/real/kvm-install.sh"
need openstack python3-openstackclient
work=$(mktemp -d /var/tmp/nubecula-sweep.XXXXXX)
chmod 755 "$work"
host() { STATE=$work/host bash "$root/internal/real/kvm-host.sh" "$@"; }
lab=
cleanup() {
    [ -z "$lab" ] || kill "$lab" 2>/dev/null || true
    wait 2>/dev/null || true
    host down >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap cleanup EXIT
(cd "$root" && CGO_ENABLED=1 go build -tags libvirt,libvirt_dlopen -o "$work/lab" ./examples/lab)
uri=$(host up | tail -n 1)
export HOME=$work

start() { # DIR: the lab on it, with a log of its own
    : >"$work/out"
    : >"$work/log"
    export OS_CLIENT_CONFIG_FILE=$1/clouds.yaml
    "$work/lab" -listen 127.0.0.1:0 -data "$1" -hypervisor libvirt -uri "$uri" -virt-type qemu >>"$work/out" 2>>"$work/log" &
    lab=$!
    until_true 120 grep -q 'Nubecula is up' "$work/out" || { cat "$work/out" "$work/log"; exit 1; }
}
stop() {
    kill -INT "$lab"
    wait "$lab" || true
    lab=
}
demo() { openstack --os-cloud lab "$@"; }
status() { demo server show "$1" -f value -c status; }
id() { demo server show "$1" -f value -c id; }
boot() { demo server create --flavor m1.nano --image tiny --network private --wait "$1"; }
domains() { virsh -q -c "$uri" list --all --uuid | sort | tr '\n' ' '; }
told() { grep -q -- "$1" "$work/log"; }
start "$work/data"
check "vm1 boots" has 'ACTIVE' boot vm1
check "vm2 boots" has 'ACTIVE' boot vm2
vm1=$(id vm1) vm2=$(id vm2)

# --- behind our back
check "virsh destroy vm1" virsh -q -c "$uri" destroy "$vm1"
check "it is SHUTOFF" until_true 60 same SHUTOFF status vm1
check "virsh undefine vm1" virsh -q -c "$uri" undefine "$vm1"
check "it is ERROR" until_true 90 same ERROR status vm1
check "the fault says what to do" has 'reboot the server --hard' demo server show vm1 -f value -c fault
check "server reboot --hard makes it whole around its disk" demo server reboot --hard --wait vm1
check "it is ACTIVE" same ACTIVE status vm1
check "virsh destroy and start vm2" bash -c "virsh -q -c '$uri' destroy $vm2 && virsh -q -c '$uri' start $vm2"
check "vm2 is ACTIVE" until_true 60 same ACTIVE status vm2

# --- strangers: one of nobody's, one under our mark that the store never heard of
stranger=$(cat /proc/sys/kernel/random/uuid)
virsh -q -c "$uri" define /dev/stdin >/dev/null <<X
<domain type="qemu"><name>by-hand</name><memory unit="MiB">64</memory><os><type>hvm</type></os></domain>
X
cloud=$(virsh -q -c "$uri" dumpxml "$vm2" | sed -n "s/.*nubecula:guest.* cloud=['\"]\([^'\"]*\)['\"].*/\1/p")
virsh -q -c "$uri" define /dev/stdin >/dev/null <<X
<domain type="qemu"><name>nubecula-$stranger</name><uuid>$stranger</uuid><memory unit="MiB">64</memory><os><type>hvm</type></os>
<metadata><nubecula:guest xmlns:nubecula="https://github.com/nubecula/cloud/guest/1" cloud="$cloud" id="$stranger" generation="1" epoch="0" name="stranger"/></metadata></domain>
X
before=$(domains)
stop
cp -a "$work/data" "$work/backup"
start "$work/data"
check "an unknown guest under our mark: alarm" until_true 30 told "store does not know.*$stranger"
check "a guest of nobody's: told" until_true 30 told "no cloud has marked.*by-hand"
check "nothing is deleted" same "$before" domains
check "the store is not held" bash -c "! grep -q 'store is older' '$work/log'"

# --- the directory is restored from an older copy, the guests' host goes on
check "vm3 boots" has 'ACTIVE' boot vm3
vm3=$(id vm3)
before=$(domains)
stop
rm -rf "$work/data"
cp -a "$work/backup" "$work/data"
start "$work/data"
check "restored: alarm" until_true 30 told 'this store is older than what a driver has seen'
check "restored: vm3 is unknown" until_true 30 told "store does not know.*$vm3"
check "restored: no address is given out" fails 'HTTP 503' boot vm4
check "restored: a delete waits" demo server delete vm2
sleep 3
check "restored: nothing is deleted" same "$before" domains
check "restored: vm1 is ACTIVE" same ACTIVE status vm1
check "restored: vm3 is not listed" bash -c "! openstack --os-cloud lab server list -f value -c Name | grep -qx vm3"
stop

# --- an empty directory next to the full host
start "$work/empty"
check "empty: alarm" until_true 30 told 'this store has no servers, and a host is full of another cloud'
check "empty: nothing is deleted" same "$before" domains
stop
[ "$failed" = 0 ] || tail -n 40 "$work/log"
summary kvm-sweep
