package serverdata

import (
	"hash/fnv"
	"strconv"
)

// ec2 is ec2/latest/meta-data.json, for guests that know EC2 only.
func ec2(s *Server) map[string]any {
	m := map[string]any{
		"ami-id":               "None",
		"ami-launch-index":     s.LaunchIndex,
		"block-device-mapping": map[string]string{"ami": "vda", "root": "/dev/vda"},
		"hostname":             s.fqdn(),
		"instance-action":      "none",
		"instance-id":          InstanceID(s.ID),
		"instance-type":        s.Flavor,
		"local-hostname":       s.fqdn(),
		"local-ipv4":           s.ipv4(),
		"placement":            map[string]string{"availability-zone": s.Zone},
		"public-hostname":      s.fqdn(),
		"public-ipv4":          "",
		"reservation-id":       "r-" + InstanceID(s.ID)[2:],
		"security-groups":      []string{},
	}
	if s.Key != nil {
		m["public-keys"] = map[string]any{"0": map[string]string{"_name": "0=" + s.Key.Name, "openssh-key": s.Key.Data}}
	}
	return m
}

// InstanceID is EC2's form of a server's id: "i-" and eight hexadecimal digits. It is derived from the
// id, so that it never changes.
func InstanceID(id string) string {
	h := fnv.New32a()
	h.Write([]byte(id))
	hex := strconv.FormatUint(uint64(h.Sum32()), 16)
	for len(hex) < 8 {
		hex = "0" + hex
	}
	return "i-" + hex
}

func (s *Server) ipv4() string {
	for _, n := range s.NICs {
		for _, a := range n.Addresses {
			if a.Addr.Is4() {
				return a.Addr.String()
			}
		}
	}
	return ""
}
