#!/bin/bash
# guest-image.sh OUTDIR [CACHEDIR]: the small real guest of our tests, from Debian packages alone.
#
# Makes OUTDIR/guest.qcow2 and guest.raw (BIOS disk), vmlinuz, vmlinux (ELF, for PVH) and initrd.img;
# bit for bit the same each time. Nothing is installed or mounted, no loop device is used; packages
# are kept in CACHEDIR. Needs: cpio lz4 python3 mtools dosfstools fdisk syslinux syslinux-common
# qemu-utils (kvm-install.sh has them). Does nothing when OUTDIR was made by this very script.
#
# The guest runs DHCP, reads the config drive (label config-2) or the metadata service, sets its
# host name, keys (dropbear) and runs a #! user_data. It tells of each step on the serial console:
# GUEST-BOOT, GUEST-LINK, GUEST-DHCP, GUEST-CONFIGDRIVE, GUEST-META, GUEST-USERDATA, GUEST-SSHD, GUEST-READY.
set -euo pipefail
me=$(readlink -f "$0")
out=$(mkdir -p "$1" && cd "$1" && pwd)
cache=$(mkdir -p "${2:-$1/cache}" && cd "${2:-$1/cache}" && pwd)
export SOURCE_DATE_EPOCH=1700000000 LC_ALL=C TZ=UTC
exec 9>"$cache/guest-image.lock"
flock 9
stamp=$(sha256sum <"$me")
[ "$(cat "$out/stamp" 2>/dev/null)" != "$stamp" ] || exit 0
rm -f "$out/stamp"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# --- packages, unpacked but not installed
kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ {print $2; exit}')
[ -n "$kernel" ] || { echo "guest-image.sh: linux-image-cloud-amd64 is unknown to apt; run apt-get update" >&2; exit 1; }
cd "$cache"
for p in "$kernel" busybox dropbear-bin libc6 libcrypt1 libtomcrypt1 libtommath1 libgmp10 zlib1g; do
    ls "${p}"_*.deb >/dev/null 2>&1 || apt-get -o APT::Sandbox::User=root -qq download "$p" >/dev/null
    if [ "$p" = "$kernel" ]; then to=$work/kernel; else to=$work/user; fi
    dpkg -x "$(ls -t "${p}"_*.deb | head -1)" "$to"
done
root=$work/root
mkdir -p "$root"/{bin,sbin,etc/dropbear,proc,sys,dev/pts,tmp,run,mnt/cd,root/.ssh,var/run,lib/modules,lib64} \
    "$root"/lib/x86_64-linux-gnu "$root"/usr/bin "$root"/usr/share/udhcpc
cp "$work"/user/bin/busybox "$work"/user/usr/sbin/dropbear "$work"/user/usr/bin/dropbearkey "$root"/bin/
for lib in libc.so.6 libresolv.so.2 libcrypt.so.1 libtomcrypt.so.1 libtommath.so.1 libgmp.so.10 libz.so.1 libnss_files.so.2; do
    cp -L "$(find "$work"/user -name "$lib*" | sort | head -1)" "$root/lib/x86_64-linux-gnu/$lib"
done
loader=$work/user/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
cp -L "$loader" "$root"/lib64/
cp -L "$loader" "$root"/lib/x86_64-linux-gnu/

# --- kernel modules: two lists in load order (insmod needs no modules.dep); "late" ones are slow under
# emulation and load after GUEST-READY, or when only they can find a config drive
modules() { # list, names
    local list=$1 m f
    shift
    for m in "$@"; do
        f=$(find "$work"/kernel/lib/modules -name "$m.ko")
        [ -n "$f" ] || { echo "guest-image.sh: no kernel module $m" >&2; exit 1; }
        cp "$f" "$root"/lib/modules/
        echo "$m" >>"$root/lib/modules/$list"
    done
}
modules list virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk \
    failover net_failover virtio_net cdrom isofs button evdev
modules late virtio_balloon virtio_console scsi_common scsi_mod sr_mod sd_mod virtio_scsi libata ata_piix \
    nls_iso8859-1 nls_cp437 fat vfat

# --- user space
echo 'root:x:0:0:root:/root:/bin/sh' >"$root"/etc/passwd
echo 'root:*:19000:0:99999:7:::' >"$root"/etc/shadow
echo 'root:x:0:' >"$root"/etc/group
echo /bin/sh >"$root"/etc/shells
echo 'passwd: files' >"$root"/etc/nsswitch.conf
cat >"$root"/usr/share/udhcpc/default.script <<'X'
#!/bin/sh
case "$1" in
deconfig)
    ip addr flush dev $interface
    ip link set $interface up ;;
bound | renew)
    ip addr add $ip/${mask:-24} broadcast ${broadcast:-+} dev $interface 2>/dev/null
    [ -n "$mtu" ] && ip link set $interface mtu $mtu
    for r in $router; do
        ip route add default via $r dev $interface 2>/dev/null
        break
    done
    set -- $staticroutes
    while [ $# -ge 2 ]; do
        if [ "$2" = 0.0.0.0 ]; then ip route add $1 dev $interface; else ip route add $1 via $2 dev $interface; fi 2>/dev/null
        shift 2
    done
    : >/etc/resolv.conf
    for d in $dns; do echo nameserver $d >>/etc/resolv.conf; done
    echo "GUEST-DHCP $interface $ip/$mask router=$router mtu=$mtu" ;;
esac
X
cat >"$root"/bin/hotplug <<'X'
#!/bin/sh
case "$SUBSYSTEM/$ACTION" in
cpu/add)
    echo 1 >/sys$DEVPATH/online 2>/dev/null
    echo "GUEST-HOTPLUG cpu $DEVPATH" >/dev/console ;;
block/*) echo "GUEST-HOTPLUG $ACTION $DEVPATH" >/dev/console ;;
net/add)
    echo "GUEST-HOTPLUG net $INTERFACE" >/dev/console
    ip link set $INTERFACE up
    udhcpc -s /usr/share/udhcpc/default.script -i $INTERFACE -q -n -t 5 -T 1 -b >/dev/console 2>&1 & ;;
esac
X
cat >"$root"/init <<'X'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
echo 3 >/proc/sys/kernel/printk
for m in $(cat /lib/modules/list); do insmod /lib/modules/$m.ko 2>/dev/null; done
exec /etc/rc
X
cat >"$root"/etc/rc <<'X'
#!/bin/sh
say() { echo "GUEST-$*"; }
up() { cut -d' ' -f1 /proc/uptime; }
say BOOT up=$(up)
# ACPI power button: a clean shutdown, from now on
(
    for e in /dev/input/event*; do
        [ -e $e ] && { head -c 24 $e >/dev/null; say POWERBUTTON; sync; poweroff -f; } &
    done
    wait
) &
ip link set lo up
[ -w /sys/devices/system/memory/auto_online_blocks ] && echo online >/sys/devices/system/memory/auto_online_blocks
uevent /bin/hotplug </dev/null >/dev/null 2>&1 &
for i in /sys/class/net/*; do
    i=${i##*/}
    [ $i = lo ] && continue
    ip link set $i up
    say LINK $i $(cat /sys/class/net/$i/address)
    udhcpc -s /usr/share/udhcpc/default.script -i $i -q -n -t 8 -T 1 -A 1 -O staticroutes -O mtu 2>/dev/null || say DHCP-FAILED $i
done
late() {
    [ -e /run/late ] && return
    : >/run/late
    for m in $(cat /lib/modules/late); do insmod /lib/modules/$m.ko 2>/dev/null; done
}
drive() { # the label of an ISO 9660 volume is 8 bytes into its descriptor's name field
    for d in /dev/vd? /dev/sr0 /dev/sd?; do
        [ -b $d ] && [ "$(dd if=$d bs=1 skip=32808 count=8 2>/dev/null)" = config-2 ] && { echo $d; return; }
    done
}
cd=$(drive)
[ -z "$cd" ] && grep -qs ^0x010 /sys/bus/pci/devices/*/class && { late; cd=$(drive); }
if [ -n "$cd" ] && mount -o ro $cd /mnt/cd; then
    cp /mnt/cd/openstack/latest/meta_data.json /run/ && say CONFIGDRIVE $cd
    cp /mnt/cd/openstack/latest/user_data /run/ 2>/dev/null
    umount /mnt/cd
fi
metadata=http://169.254.169.254/openstack/latest
n=0
while [ ! -s /run/meta_data.json ] && [ $n -lt 10 ]; do
    if timeout 3 wget -q -O /run/meta_data.json $metadata/meta_data.json; then
        say METADATA http
        timeout 3 wget -q -O /run/user_data $metadata/user_data || rm -f /run/user_data
        break
    fi
    grep -qw nometa /proc/cmdline && break
    n=$((n + 1))
    sleep 1
done
if [ -s /run/meta_data.json ]; then
    say META $(tr -d '\n' </run/meta_data.json)
    sed -n 's/.*"hostname"[: ]*"\([^"]*\)".*/\1/p' /run/meta_data.json | head -1 >/etc/hostname
    hostname -F /etc/hostname
    grep -o '"\(ssh-[a-z0-9-]*\|ecdsa-[a-z0-9-]*\) [^"]*"' /run/meta_data.json | tr -d '"' | sed 's/\\n//g' |
        sort -u >/root/.ssh/authorized_keys
    chmod 600 /root/.ssh/authorized_keys
else
    say NO-METADATA
fi
chmod 700 /root /root/.ssh
if [ -s /run/user_data ] && [ "$(head -c2 /run/user_data)" = '#!' ]; then
    chmod +x /run/user_data
    /run/user_data 2>&1 | sed 's/^/GUEST-USERDATA /'
fi
dropbear -R -s -E -p 22 2>/dev/null && say SSHD
say READY host=$(hostname) cpus=$(grep -c ^processor /proc/cpuinfo) mem=$(awk '/MemTotal/{print $2}' /proc/meminfo) up=$(up)
late &
while :; do
    setsid cttyhack sh -i </dev/console >/dev/console 2>&1
    sleep 1
done
X
chmod 755 "$root"/init "$root"/etc/rc "$root"/bin/hotplug "$root"/usr/share/udhcpc/default.script
find "$root" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
(cd "$root" && find . | sort | cpio -o -H newc -R 0:0 --reproducible --quiet | gzip -1n) >"$out"/initrd.img

# --- kernel, and the ELF inside it: payload at (setup_sects + 1) * 512 + u32 at 0x248, length u32 at 0x24c
cp "$work"/kernel/boot/vmlinuz-* "$out"/vmlinuz
python3 - "$out/vmlinuz" <<'X' | lz4 -dc >"$out"/vmlinux 2>/dev/null || rm -f "$out"/vmlinux
import struct, sys
d = open(sys.argv[1], "rb").read()
offset, length = struct.unpack("<II", d[0x248:0x250])
start = (d[0x1f1] + 1) * 512 + offset
sys.stdout.buffer.write(d[start:start + length - 4])
X

# --- BIOS disk: boot sector, one FAT partition at 1 MiB, syslinux
cd "$work"
export MTOOLS_SKIP_CHECK=1
truncate -s 40M part
mkfs.vfat -F 16 -i 5e4dface -n GUESTROOT --invariant part >/dev/null
cat >syslinux.cfg <<'X'
SERIAL 0 115200
DEFAULT linux
PROMPT 0
TIMEOUT 0
LABEL linux
 KERNEL vmlinuz
 INITRD initrd.img
 APPEND console=tty0 console=ttyS0 quiet panic=5 edd=off
X
mcopy -i part "$out"/vmlinuz "$out"/initrd.img syslinux.cfg ::
syslinux --install part
truncate -s 1M guest.raw
cat part >>guest.raw
printf 'label-id: 0x5e4dface\n2048,,0x0e,*\n' | sfdisk -q guest.raw
dd if=/usr/lib/syslinux/mbr/mbr.bin of=guest.raw bs=440 count=1 conv=notrunc status=none
qemu-img convert -O qcow2 -c guest.raw guest.qcow2
mv guest.raw guest.qcow2 "$out"/
echo "$stamp" >"$out"/stamp
