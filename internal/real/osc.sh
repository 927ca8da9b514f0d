#!/bin/bash
# osc.sh: drives the lab on fake hosts with Debian's openstack command, as a user would.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
need openstack python3-openstackclient
work=$(mktemp -d)
lab=
cleanup() {
    [ -z "$lab" ] || kill "$lab" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
(cd "$root" && CGO_ENABLED=0 go build -o "$work/lab" ./examples/lab)
export OS_CLIENT_CONFIG_FILE=$work/data/clouds.yaml HOME=$work

start() { # starts the lab on the port of its first start
    "$work/lab" -listen "127.0.0.1:${port:-0}" -data "$work/data" >>"$work/out" 2>>"$work/log" &
    lab=$!
    until_true 60 grep -q 'Nubecula is up' "$work/out" || { cat "$work/out" "$work/log"; exit 1; }
    port=$(sed -n 's#^export OS_AUTH_URL=http://127.0.0.1:\([0-9]*\)/v3#\1#p' "$work/data/openrc")
}
start
admin() { openstack --os-cloud lab-admin "$@"; }
demo() { openstack --os-cloud lab "$@"; }
status() { demo server show "$1" -f value -c status; }
gone() { ! demo server show "$1" -f value -c status; }
rc() { (. "$work/data/openrc" && unset OS_CLIENT_CONFIG_FILE && openstack "$@"); }

mode() { stat -c %a "$1"; }

# --- identity
check "openrc is private" same 600 mode "$work/data/openrc"
check "clouds.yaml is private" same 600 mode "$work/data/clouds.yaml"
check "token issue by openrc" has '^[A-Za-z0-9_.-]{40,}$' rc token issue -f value -c id
check "token issue by clouds.yaml" has '^[A-Za-z0-9_.-]{40,}$' demo token issue -f value -c id
check "catalog list" has 'compute' admin catalog list
check "project create" has 'alpha' admin project create --description 'first' alpha
check "user create" has 'alice' admin user create --project alpha --password secret --email alice@example.org alice
check "user show keeps the e-mail" same alice@example.org admin user show alice -f value -c email
check "role create" has 'gardener' admin role create gardener
check "role add" admin role add --project alpha --user alice member
check "role assignment list" has 'alice@Default' admin role assignment list --names --project alpha
check "alice logs in" has "^[0-9a-f]{32}$|-" openstack --os-auth-url "http://127.0.0.1:$port/v3" --os-identity-api-version 3 --os-username alice --os-password secret \
    --os-project-name alpha --os-user-domain-name Default --os-project-domain-name Default token issue -f value -c project_id
check "alice may not list users" fails '403|not authorized|[Ff]orbidden|Denied' openstack --os-auth-url "http://127.0.0.1:$port/v3" --os-identity-api-version 3 --os-username alice \
    --os-password secret --os-project-name alpha --os-user-domain-name Default --os-project-domain-name Default user list

# --- image
head -c 3000000 /dev/urandom >"$work/disk.raw"
sum=$(md5sum <"$work/disk.raw" | cut -d' ' -f1)
check "image create --file" has 'active|queued|disk' demo image create --disk-format raw --container-format bare --file "$work/disk.raw" --property os_distro=none --tag test disk
check "image is active" same active demo image show disk -f value -c status
check "image checksum" same "$sum" demo image show disk -f value -c checksum
check "image save" demo image save --file "$work/back.raw" disk
check "image bytes" cmp "$work/disk.raw" "$work/back.raw"
check "image set and list" demo image set --property hw_disk_bus=virtio disk
check "image list" has 'tiny' demo image list

# --- network
check "network create" has 'net1' demo network create net1
check "subnet create" has '192.168.7.0/24' demo subnet create --network net1 --subnet-range 192.168.7.0/24 --dns-nameserver 9.9.9.9 sub1
check "port create" has '192.168.7.77' demo port create --network net1 --fixed-ip subnet=sub1,ip-address=192.168.7.77 port1
check "port list by address" has '192.168.7.77' demo port list --fixed-ip ip-address=192.168.7.77
check "security group list" has 'default' demo security group list
check "external network list" has 'public' demo network list --external

# --- servers
check "flavor list" has 'm1.nano' demo flavor list
check "keypair create" has 'PRIVATE KEY' demo keypair create key1
check "keypair show" has 'key1' demo keypair show key1
printf '#!/bin/sh\necho hello\n' >"$work/user-data"
check "server create --wait" has 'ACTIVE' demo server create --flavor m1.nano --image tiny --network net1 --key-name key1 --user-data "$work/user-data" --property purpose=test --wait vm1
check "server has its address" has "net1.*192\.168\.7\." demo server show vm1 -f value -c addresses
check "server list" has 'vm1.*ACTIVE' demo server list
check "server create on a port" has 'ACTIVE' demo server create --flavor m1.nano --image tiny --port port1 --wait vm2
check "its address is the port's" has '192.168.7.77' demo server show vm2 -f value -c addresses
check "server list --name" same vm2 demo server list --name '^vm2$' -f value -c Name
check "server stop" demo server stop vm1
check "it is SHUTOFF" until_true 20 same SHUTOFF status vm1
check "server start" demo server start vm1
check "it is ACTIVE" until_true 20 same ACTIVE status vm1
check "server reboot --wait" demo server reboot --wait vm1
check "server reboot --hard --wait" demo server reboot --hard --wait vm1
check "console log show" has 'GUEST-READY host=vm1' demo console log show vm1
check "server set and unset" demo server set --name vm1b --property a=b vm1
check "it has the new name" same ACTIVE status vm1b
check "server event list" has 'create' demo server event list vm1b
check "hypervisor list" has 'host-1' admin hypervisor list
check "compute service list" has 'nova-compute.*up' admin compute service list
check "quota show" has 'instances' demo quota show

# --- a server too big for every host
admin flavor create --vcpus 500 --ram 1048576 --disk 10 huge >/dev/null
check "server create too big fails" has 'Error creating server' demo server create --flavor huge --image tiny --network net1 --wait big
check "the fault names filters and numbers" has 'No valid host.*host-1.*(500|1048576)' demo server show big -f value -c fault
check "server delete of it" demo server delete --wait big

# --- kill -9, and the second start
demo server create --flavor m1.nano --image tiny --network net1 vm3 >/dev/null
kill -9 "$lab"
wait "$lab" 2>/dev/null || true
: >"$work/out"
start
check "after kill -9: vm1b is there" same ACTIVE status vm1b
check "after kill -9: vm3 arrives" until_true 60 same ACTIVE status vm3
check "server delete --wait" demo server delete --wait vm1b vm2 vm3
check "it is gone" gone vm1b
check "port1 was brought, and stays" has '192.168.7.77' demo port show port1
check "port, subnet, network delete" demo port delete port1
check "subnet delete" demo subnet delete sub1
check "network delete" demo network delete net1
check "image delete" demo image delete disk
check "keypair delete" demo keypair delete key1
check "user, project delete" admin user delete alice
check "project delete" admin project delete alpha
check "role delete" admin role delete gardener
kill -INT "$lab"
ended=0
wait "$lab" || ended=$?
lab=
check "Ctrl-C ends it cleanly" same 0 echo "$ended"
summary osc
