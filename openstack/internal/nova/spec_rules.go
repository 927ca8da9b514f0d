package nova

import (
	"slices"
	"strconv"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/pattern"
)

// specRule says what the value of an extra spec may be. Nova knows these since 2.86; what is in none of
// their namespaces is free.
type specRule struct {
	names  *pattern.Pattern // of the part after the namespace
	accept func(value string) bool
	remedy string
}

// specNamespaces are the rules by namespace; "" is for specs without one that Nova knows.
func specNamespaces() map[string][]specRule {
	any := func(string) bool { return true }
	names := func(alternatives string) *pattern.Pattern { return pattern.New(`^(?:` + alternatives + `)$`) }
	text := func(n string) specRule { return specRule{names(n), any, ""} }
	flag := func(n string) specRule {
		return specRule{names(n), func(v string) bool { _, ok := word(v); return ok }, "it must be true or false"}
	}
	number := func(n string, min, max int64) specRule {
		return specRule{names(n), func(v string) bool {
			i, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			return err == nil && i >= min && i <= max
		}, "it must be an integer of at least " + strconv.FormatInt(min, 10)}
	}
	enum := func(n string, values ...string) specRule {
		return specRule{names(n), func(v string) bool { return slices.Contains(values, v) }, "it must be one of " + strings.Join(values, ", ")}
	}
	form := func(n, expression string) specRule {
		return specRule{names(n), pattern.New(`^(?:` + expression + `)$`).MatchString, "it must have the form " + expression}
	}
	const (
		cpus = `\^?\d+((-\d+)?(,\^?\d+(-\d+)?)?)*`
		most = 1<<63 - 1
	)
	return map[string][]specRule{
		"":                               {flag("hide_hypervisor_id"), enum("group_policy", "isolate", "none")},
		"accel":                          {text("device_profile")},
		"aggregate_instance_extra_specs": {text(".+")},
		"capabilities": {
			text("id|uuid|service_id|host|vcpus|memory_mb|local_gb|vcpus_used|memory_mb_used|local_gb_used|hypervisor_type|hypervisor_version|hypervisor_hostname"),
			text("free_ram_mb|free_disk_gb|current_workload|running_vms|disk_available_least|host_ip|mapped|cpu_allocation_ratio|ram_allocation_ratio|disk_allocation_ratio"),
			text("total_usable_ram_mb|total_usable_disk_gb|disk_mb_used|free_disk_mb|vcpus_total|num_instances|num_io_ops|failed_builds|aggregates|cell_uuid|updated"),
			text(`(cpu_info|metrics|stats|numa_topology|supported_hv_specs|pci_device_pools|nodename|pci_stats|supported_instances|limits|instances)(:\w+)*`),
		},
		"hw": {
			flag("cpu_realtime|hide_hypervisor_id|locked_memory|boot_menu|vif_multiqueue_enabled|mem_encryption|pmu|virtio_packed_ring|ephemeral_encryption"),
			form("cpu_realtime_mask", `(\^)?\d+((-\d+)?(,\^?\d+(-\d+)?)?)*`),
			form(`cpu_dedicated_mask|numa_cpus\.\d+`, cpus),
			form("mem_page_size", `large|small|any|\d+([kKMGT]i?)?(b|bit|B)?`),
			form("pmem", `([a-zA-Z0-9_]+(,)?)+`),
			number(`numa_nodes|numa_mem\.\d+|cpu_sockets|cpu_cores|cpu_threads|cpu_max_sockets|cpu_max_cores|cpu_max_threads`, 1, most),
			number("serial_port_count", 0, most), number("redirected_usb_ports", 0, 15),
			enum("cpu_policy", "dedicated", "shared", "mixed"), enum("cpu_thread_policy", "prefer", "isolate", "require"),
			enum("emulator_threads_policy", "isolate", "share"), enum("pci_numa_affinity_policy", "required", "preferred", "legacy", "socket"),
			enum("mem_encryption_model", "amd-sev", "amd-sev-es", "amd-sev-snp"),
			enum("tpm_model", "tpm-tis", "tpm-crb"), enum("tpm_version", "1.2", "2.0"), enum("tpm_secret_security", "user", "host", "deployment"),
			enum("watchdog_action", "none", "pause", "poweroff", "reset", "disabled"), enum("viommu_model", "intel", "smmuv3", "virtio", "auto"),
			enum("sound_model", "sb16", "es1370", "pcspk", "ac97", "ich6", "ich9", "usb", "virtio"), enum("usb_model", "none", "nec-xhci", "qemu-xhci"),
			enum("ephemeral_encryption_format", "plain", "luks", "luksv2"),
		},
		"hw_rng":          {flag("allowed"), number("rate_bytes|rate_period", 0, most)},
		"hw_video":        {number("ram_max_mb", 0, most)},
		"os":              {enum("secure_boot", "disabled", "required")},
		"pci_passthrough": {form("alias", `[^:]+:\d+(?:\s*,\s*[^:]+:\d+)*`)},
		"quota": {
			number("(cpu|memory|disk_io|vif)_(limit|shares_share)|cpu_shares|cpu_period", 0, most),
			number("(cpu|memory|disk_io|vif)_reservation|cpu_quota", -most, most),
			enum("(cpu|memory|disk_io|vif)_shares_level", "custom", "high", "normal", "low"),
			number("disk_(read|write|total)_(bytes|iops)_sec|vif_(in|out)bound_(average|peak|burst)", 0, most),
		},
		"resources": {number("(CUSTOM_[A-Z0-9_]+)|VCPU|PCPU|MEMORY_MB|DISK_GB|PCI_DEVICE|SRIOV_NET_VF|NUMA_SOCKET|NUMA_CORE|NUMA_THREAD|NUMA_MEMORY_MB|"+
			"IPV4_ADDRESS|VGPU|VGPU_DISPLAY_HEAD|PGPU|FPGA|MEM_ENCRYPTION_CONTEXT|NET_(BW_(EGR|IGR)_KILOBIT|PACKET_RATE_((EGR|IGR)_)?KILOPACKET)_PER_SEC", 0, most)},
		"trait":  {enum("[A-Z][A-Z0-9_]*", "required", "forbidden")},
		"vmware": {text("hw_version|storage_policy")},
	}
}

// namespaceOf splits a key. Two namespaces may carry the name of a group: resources1, trait_net.
func namespaceOf(key string) (space, rest string) {
	space, rest, ok := strings.Cut(key, ":")
	if !ok {
		return "", key
	}
	for _, numbered := range []string{"resources", "trait"} {
		if suffix, ok := strings.CutPrefix(space, numbered); ok && fqdnPattern.MatchString(suffix) && !strings.Contains(suffix, ".") {
			return numbered, rest
		}
	}
	return space, rest
}

// checkSpecs refuses what Nova knows better.
func checkSpecs(specs map[string]string, minor int) error {
	if minor < 86 {
		return nil
	}
	spaces := specNamespaces()
	for _, key := range slices.Sorted(keys(specs)) {
		space, rest := namespaceOf(key)
		rules, ok := spaces[space]
		if !ok {
			continue
		}
		i := slices.IndexFunc(rules, func(r specRule) bool { return r.names.MatchString(rest) })
		switch {
		case i < 0 && space == "":
		case i < 0:
			return fault.InvalidField("extra_specs."+key, specs[key], "it does not appear to be a valid extra spec: use a name that is known in the namespace "+space+", or another namespace")
		case !rules[i].accept(specs[key]):
			return fault.InvalidField("extra_specs."+key, specs[key], rules[i].remedy)
		}
	}
	return nil
}
