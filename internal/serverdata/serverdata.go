// Package serverdata is what a server is told about itself when it boots, as
// the tree of files that OpenStack's config drive and metadata service share:
//
//	openstack/<version>/meta_data.json, user_data, network_data.json, vendor_data.json, vendor_data2.json
//	openstack/content/0000 ...
//	ec2/latest/meta-data.json, user-data
//
// Each version is a date; a later one has what the earlier ones have, and
// more. Guests take the newest they know. All functions are pure.
package serverdata

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
)

// Server is everything that there is to tell.
type Server struct {
	ID          string
	Name        string
	Hostname    string // without a domain
	Domain      string // "" means none
	ProjectID   string
	Zone        string
	LaunchIndex int
	Metadata    map[string]string
	Key         *Key   // nil means none
	AdminPass   string // "" leaves it out
	RandomSeed  []byte // for the guest's entropy pool; nil leaves it out
	UserData    []byte // nil leaves the file out
	Files       []File
	NICs        []NIC
	Flavor      string // name; EC2's instance type
}

// Key is a public key for the guest's user.
type Key struct{ Name, Type, Data string }

// File is put into the guest by whoever reads the drive.
type File struct {
	Path     string
	Contents []byte
}

// NIC is one link, with its addresses.
type NIC struct {
	PortID    string
	NetworkID string
	MAC       string
	MTU       int    // 0 means unknown
	Type      string // as network_data.json names links: "ovs", "bridge", "tap", "phy"
	Tag       string
	Addresses []Address
}

// Address is one address of a NIC with what its subnet says.
type Address struct {
	Addr    netip.Addr
	Prefix  netip.Prefix // of the subnet
	Gateway netip.Addr   // the zero Addr means none
	DNS     []netip.Addr
	Routes  []Route
	DHCP    bool   // the guest gets the address that way
	Mode    string // of IPv6: "", "slaac", "dhcpv6-stateful", "dhcpv6-stateless"
}

// Route is a static route.
type Route struct {
	Destination netip.Prefix
	NextHop     netip.Addr
}

// version is one date, and what it brought.
type version struct {
	date string
	adds feature
}

type feature int

const (
	base feature = iota
	randomSeed
	vendorData
	networkData
	devices
	vendorData2
	nothing
)

// versions of the tree, oldest first; "latest" is the last one.
var versions = []version{
	{"2012-08-10", base},
	{"2013-04-04", randomSeed},
	{"2013-10-17", vendorData},
	{"2015-10-15", networkData}, // and project_id
	{"2016-06-30", devices},
	{"2016-10-06", vendorData2},
	{"2017-02-22", nothing}, // VLANs of passed-through devices, which we do not have
	{"2018-08-27", nothing}, // trust of virtual functions, which we do not have
	{"latest", nothing},
}

// Versions are the directories of the tree, oldest first and "latest" at the end.
func Versions() []string {
	out := make([]string, len(versions))
	for i, v := range versions {
		out[i] = v.date
	}
	return out
}

// Tree returns the files by their path.
func Tree(s *Server) map[string][]byte {
	files := map[string][]byte{}
	for i, f := range s.Files {
		files["openstack"+contentPath(i)] = f.Contents
	}
	has := map[feature]bool{}
	common := map[string][]byte{} // the files of a version; most are those of the version before
	for _, v := range versions {
		has[v.adds] = true
		switch v.adds {
		case base:
			if s.UserData != nil {
				common["user_data"] = s.UserData
			}
		case vendorData:
			common["vendor_data.json"] = document(struct{}{})
		case vendorData2:
			common["vendor_data2.json"] = document(map[string]any{"static": struct{}{}})
		case networkData:
			common["network_data.json"] = document(Network(s))
		}
		switch v.adds {
		case base, randomSeed, networkData, devices:
			common["meta_data.json"] = document(metaData(s, has))
		}
		for name, text := range common {
			files["openstack/"+v.date+"/"+name] = text
		}
	}
	files["ec2/latest/meta-data.json"] = document(ec2(s))
	if s.UserData != nil {
		files["ec2/latest/user-data"] = s.UserData
	}
	return files
}

func contentPath(i int) string { return fmt.Sprintf("/content/%04d", i) }

// metadata is meta_data.json.
type metadata struct {
	UUID             string            `json:"uuid"`
	Meta             map[string]string `json:"meta,omitempty"`
	PublicKeys       map[string]string `json:"public_keys,omitempty"`
	Keys             []key             `json:"keys,omitempty"`
	Hostname         string            `json:"hostname"`
	Name             string            `json:"name"`
	LaunchIndex      int               `json:"launch_index"`
	AvailabilityZone string            `json:"availability_zone"`
	Files            []file            `json:"files,omitempty"`
	AdminPass        string            `json:"admin_pass,omitempty"`
	RandomSeed       string            `json:"random_seed,omitempty"`
	ProjectID        string            `json:"project_id,omitempty"`
	Devices          *[]device         `json:"devices,omitempty"`
}

type key struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Data string `json:"data"`
}

type file struct {
	Path        string `json:"path"`
	ContentPath string `json:"content_path"`
}

type device struct {
	Type string   `json:"type"`
	Bus  string   `json:"bus"`
	MAC  string   `json:"mac"`
	Tags []string `json:"tags"`
}

func metaData(s *Server, has map[feature]bool) metadata {
	m := metadata{UUID: s.ID, Meta: s.Metadata, Hostname: s.fqdn(), Name: s.Name, LaunchIndex: s.LaunchIndex,
		AvailabilityZone: s.Zone, AdminPass: s.AdminPass}
	if s.Key != nil {
		m.PublicKeys = map[string]string{s.Key.Name: s.Key.Data}
		m.Keys = []key{{s.Key.Name, s.Key.Type, s.Key.Data}}
	}
	for i, f := range s.Files {
		m.Files = append(m.Files, file{f.Path, contentPath(i)})
	}
	if has[randomSeed] && s.RandomSeed != nil {
		m.RandomSeed = base64.StdEncoding.EncodeToString(s.RandomSeed)
	}
	if has[networkData] {
		m.ProjectID = s.ProjectID
	}
	if has[devices] {
		m.Devices = &[]device{}
		for _, n := range s.NICs {
			if n.Tag != "" {
				*m.Devices = append(*m.Devices, device{Type: "nic", Bus: "none", MAC: n.MAC, Tags: []string{n.Tag}})
			}
		}
	}
	return m
}

func (s *Server) fqdn() string {
	if s.Domain == "" {
		return s.Hostname
	}
	return s.Hostname + "." + s.Domain
}

// document is one line, as Nova writes it: to indent it took as long as to make it, at each boot.
func document(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // cannot be: structs of strings and numbers
	}
	return append(b, '\n')
}
