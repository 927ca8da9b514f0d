package image

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/nubecula/cloud/fault"
)

const (
	maxName       = 255   // characters of a name, a tag, a property's name
	maxValue      = 65535 // bytes of a property's value
	maxTags       = 128
	maxProperties = 128
	maxMembers    = 128
	maxMinimum    = 1<<31 - 1
)

// DiskFormats returns the disk formats that an image may be declared to have.
func DiskFormats() []string {
	return []string{"ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop"}
}

// ContainerFormats returns the container formats that an image may be declared to have.
func ContainerFormats() []string {
	return []string{"ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed"}
}

// reserved are names that no property may have, since they are attributes of their own in the API.
var reserved = []string{
	"id", "name", "owner", "status", "visibility", "protected", "os_hidden", "disk_format", "container_format", "min_disk", "min_ram",
	"tags", "size", "virtual_size", "checksum", "os_hash_algo", "os_hash_value", "created_at", "updated_at", "deleted_at", "deleted",
	"is_public", "self", "file", "schema", "first", "next", "direct_url", "locations", "stores", "members", "properties",
}

// Reserved reports whether no property may have this name.
func Reserved(name string) bool {
	return slices.Contains(reserved, name) || strings.HasPrefix(name, "os_glance")
}

func (i *Image) validate() error {
	if err := text("name", i.Name, 0, maxName); err != nil {
		return err
	}
	if !slices.Contains([]Visibility{Private, Shared, Community, Public}, i.Visibility) {
		return fault.InvalidField("visibility", string(i.Visibility), "it must be public, private, shared or community")
	}
	if i.DiskFormat != "" && !slices.Contains(DiskFormats(), i.DiskFormat) {
		return fault.InvalidField("disk_format", i.DiskFormat, "it must be one of "+strings.Join(DiskFormats(), ", "))
	}
	if i.ContainerFormat != "" && !slices.Contains(ContainerFormats(), i.ContainerFormat) {
		return fault.InvalidField("container_format", i.ContainerFormat, "it must be one of "+strings.Join(ContainerFormats(), ", "))
	}
	if aws := func(f string) bool { return f == "ami" || f == "ari" || f == "aki" }; i.DiskFormat != "" && i.ContainerFormat != "" &&
		(aws(i.DiskFormat) || aws(i.ContainerFormat)) && i.DiskFormat != i.ContainerFormat {
		return fault.InvalidField("container_format", i.ContainerFormat, "ami, ari and aki go together only with the disk format of the same name")
	}
	if i.MinDiskGiB < 0 || i.MinDiskGiB > maxMinimum {
		return fault.InvalidField("min_disk", i.MinDiskGiB, "it must be between 0 and 2147483647 GiB")
	}
	if i.MinRAMMiB < 0 || i.MinRAMMiB > maxMinimum {
		return fault.InvalidField("min_ram", i.MinRAMMiB, "it must be between 0 and 2147483647 MiB")
	}
	for _, tag := range i.Tags {
		if err := text("tags", tag, 1, maxName); err != nil {
			return err
		}
	}
	if len(i.Tags) > maxTags {
		return &fault.Error{Code: fault.TooLarge, Field: "tags", Msg: "an image has at most 128 tags"}
	}
	if len(i.Properties) > maxProperties {
		return &fault.Error{Code: fault.TooLarge, Field: "properties", Msg: "an image has at most 128 properties"}
	}
	return nil
}

func text(field, value string, least, most int) error {
	n := utf8.RuneCountInString(value)
	if n < least || n > most || !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
		return fault.InvalidField(field, clip(value), "it must have at most 255 characters, valid UTF-8 without NUL, and not be empty where it names something")
	}
	return nil
}

// clip shortens a value for a message.
func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "..."
	}
	return s
}

func (i *Image) setProperty(name, value string) error {
	if Reserved(name) {
		return &fault.Error{Code: fault.Denied, Kind: "image", ID: i.ID, Field: name, Msg: "is reserved: no property can have this name"}
	}
	if err := text("property", name, 1, maxName); err != nil {
		return err
	}
	if len(value) > maxValue || !utf8.ValidString(value) {
		return fault.InvalidField(name, clip(value), "a property has at most 65535 bytes of valid UTF-8")
	}
	if i.Properties == nil {
		i.Properties = map[string]string{}
	}
	i.Properties[name] = value
	return nil
}

// sorted returns each of the texts once, in order.
func sorted(list []string) []string {
	out := slices.Clone(list)
	slices.Sort(out)
	return slices.Compact(out)
}
