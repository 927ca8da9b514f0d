package nova

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// createShape is the body of POST /servers.
func createShape() rule {
	hints := mapping(0, unbounded, func(string) bool { return true }, anything)
	return props{
		{name: "server", must: 1, rule: props{
			{name: "name", rule: name, must: 1},
			{name: "flavorRef", rule: either(integer(0, unbounded), text(1, 255, "", nil)), must: 1},
			{name: "imageRef", rule: text(0, 255, `it must be a UUID, or ""`, func(s string) bool { return s == "" || isUUID(s) })},
			{name: "networks", until: 36, rule: list(0, unbounded, networkShape(anyText))},
			{name: "networks", since: 37, must: 37, rule: either(oneOf("none", "auto"), list(0, unbounded, networkShape(uuid)))},
			{name: "adminPass", rule: anyText},
			{name: "metadata", rule: metadata},
			{name: "OS-DCF:diskConfig", rule: oneOf("AUTO", "MANUAL")},
			{name: "accessIPv4", rule: address4},
			{name: "accessIPv6", rule: address6},
			{name: "personality", until: 56, rule: list(0, unbounded, props{
				{name: "path", rule: anyText}, {name: "contents", rule: base64Text}}.check)},
			{name: "availability_zone", rule: name},
			{name: "block_device_mapping", rule: list(0, unbounded, deviceShape(false))},
			{name: "block_device_mapping_v2", rule: list(0, unbounded, deviceShape(true))},
			{name: "config_drive", rule: boolean},
			{name: "key_name", rule: name},
			{name: "min_count", rule: integer(1, unbounded)},
			{name: "max_count", rule: integer(1, unbounded)},
			{name: "return_reservation_id", rule: boolean},
			{name: "security_groups", rule: list(0, unbounded, props{{name: "name", rule: name}}.check)},
			{name: "user_data", rule: text(0, 65535, "it must be base64", func(s string) bool { return base64Text("", s, 0) == nil })},
			{name: "description", since: 19, rule: description},
			{name: "tags", since: 52, rule: tags},
			{name: "trusted_image_certificates", since: 63, rule: nullable(list(1, 50, text(1, 255, "", nil)))},
			{name: "host", since: 74, rule: fqdn},
			{name: "hypervisor_hostname", since: 74, rule: fqdn},
			{name: "hostname", since: 90, until: 93, rule: hostname},
			{name: "hostname", since: 94, rule: fqdn},
		}.check},
		{name: "os:scheduler_hints", rule: hints},
		{name: "OS-SCH-HNT:scheduler_hints", rule: hints},
	}.check
}

func anyText(at string, v any, n int) error { return text(0, unbounded, "", nil)(at, v, n) }

// networkShape: Nova lost the tag in 2.37 by mistake and got it back in 2.42.
func networkShape(network rule) rule {
	return props{
		{name: "uuid", rule: network},
		{name: "port", rule: nullable(uuid)},
		{name: "fixed_ip", rule: address},
		{name: "tag", since: 32, until: 36, rule: tag},
		{name: "tag", since: 42, rule: tag},
	}.check
}

// deviceShape: the tag was lost in 2.33, likewise.
func deviceShape(v2 bool) rule {
	p := props{
		{name: "virtual_name", rule: text(0, 255, "", nil)},
		{name: "volume_id", rule: uuid},
		{name: "snapshot_id", rule: uuid},
		{name: "volume_size", rule: integer(1, unbounded)},
		{name: "device_name", rule: text(1, 255, "use letters, digits, '.', '_', '/' and '-'", func(s string) bool {
			return !strings.ContainsFunc(s, func(c rune) bool { return c > 'z' || !strings.ContainsRune("._/-", c) && !isAlnum(c) })
		})},
		{name: "delete_on_termination", rule: boolean},
		{name: "no_device", rule: anything},
		{name: "connection_info", rule: anyText},
	}
	if v2 {
		p = append(p, props{
			{name: "source_type", rule: oneOf("volume", "image", "snapshot", "blank")},
			{name: "uuid", rule: text(1, 255, "use letters, digits, '.', '_' and '-'", fqdnPattern.MatchString)},
			{name: "image_id", rule: uuid},
			{name: "destination_type", rule: oneOf("local", "volume")},
			{name: "guest_format", rule: text(0, 255, "", nil)},
			{name: "device_type", rule: text(0, 255, "", nil)},
			{name: "disk_bus", rule: text(0, 255, "", nil)},
			{name: "boot_index", rule: nullable(integer(-unbounded, unbounded))},
			{name: "tag", since: 32, until: 32, rule: tag},
			{name: "tag", since: 42, rule: tag},
			{name: "volume_type", since: 67, rule: nullable(text(0, 255, "", nil))},
		}...)
	}
	return p.check
}

func isAlnum(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// createBody is that body, decoded.
type createBody struct {
	Server struct {
		Name           string            `json:"name"`
		Flavor         ref               `json:"flavorRef"`
		Image          string            `json:"imageRef"`
		Networks       networks          `json:"networks"`
		AdminPass      string            `json:"adminPass"`
		Metadata       map[string]string `json:"metadata"`
		Personality    []personality     `json:"personality"`
		Zone           string            `json:"availability_zone"`
		OldDevices     []device          `json:"block_device_mapping"`
		Devices        []device          `json:"block_device_mapping_v2"`
		ConfigDrive    rest.Bool         `json:"config_drive"`
		KeyName        string            `json:"key_name"`
		MinCount       rest.Int          `json:"min_count"`
		MaxCount       rest.Int          `json:"max_count"`
		OnlyReserve    rest.Bool         `json:"return_reservation_id"`
		SecurityGroups []struct {
			Name string `json:"name"`
		} `json:"security_groups"`
		UserData    string     `json:"user_data"`
		Description string     `json:"description"`
		Tags        []string   `json:"tags"`
		Trusted     []string   `json:"trusted_image_certificates"`
		Host        string     `json:"host"`
		Node        string     `json:"hypervisor_hostname"`
		Hostname    string     `json:"hostname"`
		DiskConfig  string     `json:"OS-DCF:diskConfig"`
		AccessIPv4  netip.Addr `json:"accessIPv4"`
		AccessIPv6  netip.Addr `json:"accessIPv6"`
	} `json:"server"`
	Hints    map[string]any `json:"os:scheduler_hints"`
	OldHints map[string]any `json:"OS-SCH-HNT:scheduler_hints"`
}

// ref is an id that may be given as a number.
type ref string

// UnmarshalJSON implements json.Unmarshaler.
func (v *ref) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) != nil {
		s = string(b)
	}
	*v = ref(s)
	return nil
}

type personality struct {
	Path     string `json:"path"`
	Contents string `json:"contents"`
}

// networks is a list, or "auto" or "none".
type networks struct {
	given bool
	word  string
	list  []nicBody
}

type nicBody struct {
	Network string `json:"uuid"`
	Port    string `json:"port"`
	FixedIP string `json:"fixed_ip"`
	Tag     string `json:"tag"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (v *networks) UnmarshalJSON(b []byte) error {
	v.given = true
	if json.Unmarshal(b, &v.word) == nil {
		return nil
	}
	return json.Unmarshal(b, &v.list)
}

type device struct {
	Source      string    `json:"source_type"`
	Destination string    `json:"destination_type"`
	UUID        string    `json:"uuid"`
	ImageID     string    `json:"image_id"`
	VolumeID    string    `json:"volume_id"`
	SnapshotID  string    `json:"snapshot_id"`
	NoDevice    any       `json:"no_device"`
	BootIndex   *rest.Int `json:"boot_index"`
}

func (a *api) createServer(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	body, err := read[createBody](r, createShape())
	if err != nil {
		return nil, err
	}
	req, err := body.request(minor(r))
	if err != nil {
		return nil, err
	}
	made, err := a.as(r).CreateServer(ctx, req)
	if err != nil {
		return nil, badRequest(err)
	}
	if body.Server.OnlyReserve {
		return rest.Accepted(object{"reservation_id": made.ReservationID}), nil
	}
	s := made.Servers[0]
	groups := []object{}
	for _, g := range body.Server.SecurityGroups {
		groups = append(groups, object{"name": g.Name})
	}
	if body.Server.SecurityGroups == nil {
		groups = append(groups, object{"name": "default"})
	}
	doc := object{"id": s.ID, "links": r.Links("/servers/" + s.ID), "security_groups": groups,
		"OS-DCF:diskConfig": cmp.Or(s.DiskConfig, "MANUAL"), "adminPass": made.AdminPass}
	return rest.Accepted(object{"server": doc}).With("Location", r.URL("/servers/"+s.ID)), nil
}

// request makes the service's request of the body.
func (b *createBody) request(minor int) (req compute.CreateServer, err error) {
	s := &b.Server
	req = compute.CreateServer{
		Name: s.Name, Hostname: s.Hostname, Description: s.Description, ImageID: s.Image, FlavorID: string(s.Flavor), KeyName: s.KeyName,
		Metadata: s.Metadata, Tags: s.Tags, ConfigDrive: bool(s.ConfigDrive), AdminPass: s.AdminPass,
		Zone: s.Zone, MinCount: int(s.MinCount), MaxCount: int(s.MaxCount),
		DiskConfig: s.DiskConfig, AccessIPv4: s.AccessIPv4, AccessIPv6: s.AccessIPv6,
	}
	if minor < 19 {
		req.Description = s.Name
	}
	if len(s.Trusted) > 0 {
		return req, fault.InvalidField("server.trusted_image_certificates", s.Trusted, "image signatures are not verified here: leave it out")
	}
	if req.UserData, err = unbase64(s.UserData); err != nil {
		return req, fault.InvalidField("server.user_data", "", "it must be base64")
	}
	for i, f := range s.Personality {
		contents, err := unbase64(f.Contents)
		if err != nil || f.Path == "" {
			return req, fault.InvalidField(fmt.Sprintf("server.personality[%d]", i), f.Path, "it must have a path, and contents in base64")
		}
		req.Files = append(req.Files, compute.File{Path: f.Path, Contents: contents})
	}
	for _, g := range s.SecurityGroups {
		if g.Name != "" && !slices.Contains(req.SecurityGroups, g.Name) {
			req.SecurityGroups = append(req.SecurityGroups, g.Name)
		}
	}
	if err := b.counts(&req); err != nil {
		return req, err
	}
	if err := b.networks(&req); err != nil {
		return req, err
	}
	if err := b.devices(&req); err != nil {
		return req, err
	}
	if err := b.host(&req); err != nil {
		return req, err
	}
	req.SchedulerHints, err = b.hints()
	return req, err
}

func (b *createBody) counts(req *compute.CreateServer) error {
	low, high := max(req.MinCount, 1), req.MaxCount
	if high == 0 {
		high = low
	}
	if low > high {
		return fault.InvalidField("server.min_count", low, "it must not be more than max_count, which is "+strconv.Itoa(high))
	}
	if high > 1 && req.Hostname != "" {
		return fault.InvalidField("server.hostname", req.Hostname, "several servers cannot have one hostname: leave it out, or make one server")
	}
	req.MinCount, req.MaxCount = low, high
	return nil
}

func (b *createBody) networks(req *compute.CreateServer) error {
	n := &b.Server.Networks
	req.Auto, req.None = n.word == "auto", n.word == "none"
	ports := map[string]bool{}
	for i, nic := range n.list {
		at := fmt.Sprintf("server.networks[%d]", i)
		switch {
		case nic.Port != "" && ports[nic.Port]:
			return fault.InvalidField(at+".port", nic.Port, "it is given twice: a port can be attached once")
		case nic.Port != "" && nic.FixedIP != "":
			return fault.InvalidField(at+".fixed_ip", nic.FixedIP, "it cannot be given together with a port, which has its addresses")
		case nic.Port == "" && !isUUID(nic.Network):
			return fault.InvalidField(at+".uuid", nic.Network, "give the UUID of a network, or a port")
		}
		want := compute.Network{NetworkID: nic.Network, PortID: nic.Port, Tag: nic.Tag}
		if nic.Port != "" {
			ports[nic.Port] = true
			want.NetworkID = ""
		}
		if nic.FixedIP != "" {
			want.FixedIP, _ = netip.ParseAddr(nic.FixedIP) // its shape was checked
			if b.Server.MaxCount > 1 || b.Server.MinCount > 1 {
				return fault.InvalidField(at+".fixed_ip", nic.FixedIP, "several servers cannot have one address: leave it out, or make one server")
			}
		}
		req.Networks = append(req.Networks, want)
	}
	return nil
}

// devices accepts what says no more than that the root disk is made from the image.
func (b *createBody) devices(req *compute.CreateServer) error {
	if len(b.Server.OldDevices) > 0 && len(b.Server.Devices) > 0 {
		return fault.InvalidField("server.block_device_mapping", "", "it cannot be used together with block_device_mapping_v2: use that alone")
	}
	if len(b.Server.OldDevices) > 0 {
		return fault.InvalidField("server.block_device_mapping", "", "servers boot from images on local disks here; there is no volume service yet: leave it out")
	}
	root := false
	for i, d := range b.Server.Devices {
		at := fmt.Sprintf("server.block_device_mapping_v2[%d]", i)
		image := d.UUID
		if image == "" {
			image = d.ImageID
		}
		switch {
		case d.Source != "image" && !(d.Source == "" && d.ImageID != "") || d.Destination != "" && d.Destination != "local":
			return fault.InvalidField(at, strings.Trim(d.Source+" to "+d.Destination, " "),
				"only an image on a local disk (source_type image, destination_type local) is possible; there is no volume service yet")
		case d.BootIndex == nil || *d.BootIndex != 0:
			return fault.InvalidField(at+".boot_index", indexOf(d.BootIndex), "only the root disk, boot_index 0, can be made from an image")
		case root:
			return fault.InvalidField(at+".boot_index", 0, "two devices are first in the boot order")
		case req.ImageID != "" && image != req.ImageID:
			return fault.InvalidField(at+".uuid", image, "it must be the image of imageRef")
		case !isUUID(image):
			return fault.InvalidField(at+".uuid", image, "it must be the UUID of an image")
		}
		root, req.ImageID = true, image
	}
	if req.ImageID == "" {
		return fault.InvalidField("server.imageRef", "", "invalid imageRef provided: give the UUID of an image")
	}
	return nil
}

func indexOf(i *rest.Int) any {
	if i == nil {
		return nil
	}
	return int64(*i)
}

// host is the requested destination of 2.74; the node is the host here.
func (b *createBody) host(req *compute.CreateServer) error {
	host, node := b.Server.Host, b.Server.Node
	if host == "" && node == "" {
		return nil
	}
	if strings.Contains(req.Zone, ":") {
		return fault.InvalidField("server.availability_zone", req.Zone, "a host in the zone and the properties host or hypervisor_hostname exclude each other: use one of them")
	}
	if host != "" && node != "" && host != node {
		return fault.InvalidField("server.hypervisor_hostname", node, "no such node on host "+host+": here the two names are the same")
	}
	if req.Host = host; host == "" {
		req.Host = node
	}
	return nil
}

// hints turns every hint into a list of texts.
func (b *createBody) hints() (map[string][]string, error) {
	all := b.Hints
	if all == nil {
		all = b.OldHints
	}
	out := map[string][]string{}
	for _, key := range slices.Sorted(keys(all)) {
		if key == "group" {
			return nil, fault.InvalidField("os:scheduler_hints.group", all[key], "there is no such server group")
		}
		values, ok := all[key].([]any)
		if !ok {
			values = []any{all[key]}
		}
		for _, v := range values {
			text, ok := v.(string)
			if !ok {
				raw, err := json.Marshal(v)
				if err != nil {
					return nil, fault.InvalidField("os:scheduler_hints."+key, "", "it must be a string or a list of strings")
				}
				text = string(raw)
			}
			out[key] = append(out[key], text)
		}
	}
	return out, nil
}
