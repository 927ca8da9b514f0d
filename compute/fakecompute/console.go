package fakecompute

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

const configDir = "openstack/latest/"

// metaData is what a guest takes from its config drive.
type metaData struct {
	UUID       string            `json:"uuid"`
	Hostname   string            `json:"hostname"`
	PublicKeys map[string]string `json:"public_keys"`
}

// console writes what a small guest would have, from what it was given: its
// hostname and keys come from its config drive, or the lack of them shows.
func console(s specDoc, events []event) []byte {
	var b bytes.Buffer
	for _, e := range events {
		switch e.What {
		case booted:
			s.boot(&b, e.At)
		case rebooted:
			fmt.Fprintf(&b, "reboot: Restarting system\n")
			s.boot(&b, e.At)
		case shutDown:
			fmt.Fprintf(&b, "GUEST-SHUTDOWN %s\nreboot: Power down\n", e.At.UTC().Format(time.RFC3339))
		case crashed:
			fmt.Fprintf(&b, "Kernel panic - not syncing: Fatal exception\n")
		}
	}
	return b.Bytes()
}

func (s specDoc) boot(b *bytes.Buffer, at time.Time) {
	fmt.Fprintf(b, "Linux version 6.1.0-fake (nubecula) %d vcpus, %d MiB\n", s.VCPUs, s.MemoryMiB)
	fmt.Fprintf(b, "GUEST-BOOT %s\n", at.UTC().Format(time.RFC3339))
	for i, n := range s.NICs {
		fmt.Fprintf(b, "GUEST-LINK eth%d %s port=%s via=%s mtu=%d\n", i, n.MAC, n.PortID, n.Binding.VIFType(), n.MTU)
	}
	meta := metaData{Hostname: s.Hostname}
	if s.ConfigDrive == nil {
		fmt.Fprintf(b, "GUEST-NOCONFIGDRIVE\n")
	} else {
		fmt.Fprintf(b, "GUEST-CONFIGDRIVE /dev/vdb\n")
		raw, given, err := s.ConfigDrive.file(configDir + "meta_data.json")
		if err == nil {
			err = json.Unmarshal(raw, &meta)
		}
		if given && err != nil {
			fmt.Fprintf(b, "GUEST-BADMETA %q\n", err.Error())
		}
		fmt.Fprintf(b, "GUEST-META uuid=%q hostname=%q\n", meta.UUID, meta.Hostname)
		for _, name := range sorted(meta.PublicKeys) {
			fmt.Fprintf(b, "GUEST-KEY %q %q\n", name, meta.PublicKeys[name])
		}
		if data, given, err := s.ConfigDrive.file(configDir + "user_data"); given && err == nil {
			fmt.Fprintf(b, "GUEST-USERDATA %d bytes\n", len(data))
		}
	}
	fmt.Fprintf(b, "GUEST-READY host=%s cpus=%d mem=%d\n", meta.Hostname, s.VCPUs, s.MemoryMiB)
	fmt.Fprintf(b, "%s login: \n", meta.Hostname)
}

func sorted(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
