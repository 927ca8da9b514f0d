#!/bin/bash
# all.sh: the suites against the real things - PostgreSQL, OpenStack's client, libvirt and QEMU. Each script installs what
# it needs and starts every daemon itself; one that cannot says SKIP, by name, and what is missing.
set -uo pipefail
cd "$(dirname "$0")"
failed=0
for script in postgres.sh replicas.sh osc.sh kvm-suite.sh kvm-lab.sh kvm-sweep.sh; do
    echo
    echo "--- $script"
    bash "./$script" || { failed=$((failed + 1)); echo "--- $script failed"; }
done
exit "$failed"
