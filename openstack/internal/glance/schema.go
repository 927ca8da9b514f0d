package glance

import (
	"context"
	"net/http"

	"github.com/nubecula/cloud/image"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// schema answers the documents that clients read to learn the attributes.
func schema(_ context.Context, r *rest.Request) (*rest.Response, error) {
	switch r.Value("name") {
	case "image":
		return rest.OK(imageSchema()), nil
	case "images":
		return rest.OK(listSchema("images", imageSchema())), nil
	case "member":
		return rest.OK(memberSchema()), nil
	case "members":
		return rest.OK(listSchema("members", memberSchema())), nil
	}
	return nil, rest.Status(http.StatusNotFound, "the resource could not be found")
}

// attribute describes one attribute; null tells that it may be null.
func attribute(kind string, null bool, more ...any) object {
	out := object{"type": kind}
	if null {
		out["type"] = []string{"null", kind}
	}
	for n := 0; n+1 < len(more); n += 2 {
		out[more[n].(string)] = more[n+1]
	}
	return out
}

func imageSchema() object {
	readOnly := func(kind string, null bool) object { return attribute(kind, null, "readOnly", true) }
	return object{
		"name": "image", "additionalProperties": object{"type": "string"},
		"links": []object{{"rel": "self", "href": "{self}"}, {"rel": "enclosure", "href": "{file}"}, {"rel": "describedby", "href": "{schema}"}},
		"properties": object{
			"id":               attribute("string", false),
			"name":             attribute("string", true, "maxLength", 255),
			"owner":            attribute("string", true, "maxLength", 255),
			"status":           attribute("string", false, "readOnly", true, "enum", []image.Status{image.Queued, image.Saving, image.Active, image.Deactivated, "killed", "deleted"}),
			"visibility":       attribute("string", false, "enum", []image.Visibility{image.Community, image.Public, image.Private, image.Shared}),
			"protected":        attribute("boolean", false),
			"os_hidden":        attribute("boolean", false),
			"disk_format":      attribute("string", true, "enum", orNone(image.DiskFormats())),
			"container_format": attribute("string", true, "enum", orNone(image.ContainerFormats())),
			"min_disk":         attribute("integer", false),
			"min_ram":          attribute("integer", false),
			"tags":             attribute("array", false, "items", attribute("string", false, "maxLength", 255)),
			"size":             readOnly("integer", true),
			"virtual_size":     readOnly("integer", true),
			"checksum":         readOnly("string", true),
			"os_hash_algo":     readOnly("string", true),
			"os_hash_value":    readOnly("string", true),
			"created_at":       readOnly("string", false),
			"updated_at":       readOnly("string", false),
			"self":             readOnly("string", false),
			"file":             readOnly("string", false),
			"schema":           readOnly("string", false),
		},
	}
}

func memberSchema() object {
	return object{"name": "member", "properties": object{
		"image_id":   attribute("string", false),
		"member_id":  attribute("string", false),
		"status":     attribute("string", false, "enum", []image.MemberStatus{image.Pending, image.Accepted, image.Rejected}),
		"schema":     attribute("string", false, "readOnly", true),
		"created_at": attribute("string", false, "readOnly", true),
		"updated_at": attribute("string", false, "readOnly", true),
	}}
}

func listSchema(name string, item object) object {
	return object{
		"name":  name,
		"links": []object{{"rel": "first", "href": "{first}"}, {"rel": "next", "href": "{next}"}, {"rel": "describedby", "href": "{schema}"}},
		"properties": object{
			name: attribute("array", false, "items", item), "first": attribute("string", false),
			"next": attribute("string", false), "schema": attribute("string", false),
		},
	}
}

// orNone adds null, which is what an image without a format has.
func orNone(list []string) []any {
	out := []any{nil}
	for _, s := range list {
		out = append(out, s)
	}
	return out
}
