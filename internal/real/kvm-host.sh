#!/bin/bash
# A private virtualisation host: libvirtd and virtlogd in mount, network and UTS namespaces of their own,
# so that nothing of it touches the machine's libvirt. All its state is in STATE.
#
#   STATE=DIR kvm-host.sh up           start it (does nothing when it runs); prints the URI
#   STATE=DIR kvm-host.sh uri          print the URI
#   STATE=DIR kvm-host.sh exec CMD...  run a command inside the namespaces
#   STATE=DIR kvm-host.sh kill         kill -9 libvirtd alone, as a crash would; guests go on
#   STATE=DIR kvm-host.sh start        start libvirtd again
#   STATE=DIR kvm-host.sh freeze|thaw  stop libvirtd from answering, and let it answer again
#   STATE=DIR kvm-host.sh down         end guests, daemons, namespaces
#
# NAME (default kvm1) is the host name; guests find a bridge br0 there. Run as root. DIR must be reachable
# by the QEMU user: mode 0755 or 0711, and so the directories above it. KVM=yes leaves /dev/kvm to the host.
set -euo pipefail
verb=${1:?up, uri, exec, kill, start, freeze, thaw or down}
shift
mkdir -p "${STATE:?a directory for this host}"
state=$(cd "$STATE" && pwd)
name=${NAME:-kvm1}
netns=nub-$(printf %s "$state" | sha256sum | cut -c1-10)
socket=$state/run/libvirt-sock
uri="qemu+unix:///system?socket=$socket"

# pid of the daemon if its pid file still names that very process
pid() {
    local p
    p=$(cat "$state/pid/$1.pid" 2>/dev/null) || return 1
    { tr "\0" " " <"/proc/$p/cmdline"; } 2>/dev/null | grep -qF "$state/pid/$1.pid" && echo "$p"
}

wait_gone() {
    for _ in $(seq 400); do
        [ -d "/proc/$1" ] || return 0
        sleep 0.05
    done
    kill -9 "$1" 2>/dev/null || true
}

inside() {
    local p
    p=$(pid virtlogd) || { echo "kvm-host.sh: no host is up in $state" >&2; exit 1; }
    nsenter -t "$p" --mount --net --uts -- "$@"
}

wait_up() {
    for _ in $(seq 400); do
        virsh -q -c "$uri" version >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    echo "kvm-host.sh: libvirtd does not answer at $socket:" >&2
    tail -n 20 "$state/log/libvirtd.log" >&2 || true
    exit 1
}

start_libvirtd() {
    rm -f "$socket"
    inside libvirtd -d -p "$state/pid/libvirtd.pid"
    wait_up
}

case $verb in
up)
    if pid libvirtd >/dev/null; then echo "$uri"; exit 0; fi
    [ ${#socket} -lt 100 ] || { echo "kvm-host.sh: $socket is too long for a socket" >&2; exit 1; }
    mkdir -p "$state"/{etc,lib,run,log,cache,pid}
    chmod 0755 "$state"
    if ! [ -e "$state/etc/libvirtd.conf" ]; then
        cp -a /etc/libvirt/. "$state/etc/"
        rm -rf "$state"/etc/qemu/*
        cat >"$state/etc/libvirtd.conf" <<X
listen_tls = 0
auth_unix_rw = "none"
unix_sock_rw_perms = "0770"
host_uuid = "$(cat /proc/sys/kernel/random/uuid)"
log_outputs = "3:file:$state/log/libvirtd.log"
X
        # no cgroups: two hosts on one machine would share the groups of guests of one name. No namespaces:
        # QEMU's own /dev cannot be made over the hidden /dev/kvm below.
        cat >"$state/etc/qemu.conf" <<X
security_driver = "none"
cgroup_controllers = [ ]
namespaces = [ ]
X
    fi
    ip netns add "$netns" 2>/dev/null || true
    ip -n "$netns" link set lo up
    ip -n "$netns" link show br0 >/dev/null 2>&1 || ip -n "$netns" link add br0 type bridge
    ip -n "$netns" link set br0 up
    if ! pid virtlogd >/dev/null; then
        # An emulating host has no KVM. Where root can open /dev/kvm and the QEMU user cannot, libvirt 9 takes its
        # cache of QEMU's capabilities for outdated and probes QEMU at every call, 4 s each.
        install -m 0000 /dev/null "$state/no-kvm"
        # nsenter, not ip netns exec: that one mounts a fresh /sys, without cgroups
        nsenter --net="/run/netns/$netns" unshare --mount --uts --propagation private bash -ec "
            hostname '$name'
            mkdir -p /run/libvirt
            mount --bind '$state/etc' /etc/libvirt
            mount --bind '$state/lib' /var/lib/libvirt
            mount --bind '$state/run' /run/libvirt
            mount --bind '$state/log' /var/log/libvirt
            mount --bind '$state/cache' /var/cache/libvirt
            if [ -e /dev/kvm ] && [ '${KVM:-no}' = no ]; then mount --bind '$state/no-kvm' /dev/kvm; fi
            virtlogd -d -p '$state/pid/virtlogd.pid'"
        for _ in $(seq 200); do
            pid virtlogd >/dev/null && break
            sleep 0.05
        done
    fi
    start_libvirtd
    echo "$uri"
    ;;
uri) echo "$uri" ;;
exec) inside "$@" ;;
start) pid libvirtd >/dev/null || start_libvirtd ;;
kill)
    p=$(pid libvirtd) && kill -9 "$p" && wait_gone "$p"
    ;;
freeze) kill -STOP "$(pid libvirtd)" ;;
thaw) kill -CONT "$(pid libvirtd)" ;;
down)
    if p=$(pid libvirtd); then
        kill -CONT "$p"
        timeout 60 virsh -q -c "$uri" list --name | while read -r d; do
            [ -z "$d" ] || virsh -q -c "$uri" destroy "$d" || true
        done
        kill "$p"
        wait_gone "$p"
    fi
    for f in "$state"/run/qemu/*.pid; do # guests that a dead libvirtd left
        [ -e "$f" ] || continue
        p=$(cat "$f")
        case $(cat "/proc/$p/comm" 2>/dev/null) in qemu*) kill -9 "$p" ;; esac
    done
    if p=$(pid virtlogd); then
        kill "$p"
        wait_gone "$p"
    fi
    ip netns del "$netns" 2>/dev/null || true
    ;;
*)
    echo "kvm-host.sh: $verb is not a verb; see the top of this file" >&2
    exit 1
    ;;
esac
