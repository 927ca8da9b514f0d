package glance

import (
	"encoding/json"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/image"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// writable are the attributes that clients may set; what else is reserved they may only read.
var writable = []string{"name", "owner", "visibility", "protected", "os_hidden", "disk_format", "container_format", "min_disk", "min_ram", "tags"}

func readOnly(name string) error {
	return &fault.Error{Code: fault.Denied, Field: name, Msg: "is read-only or reserved: leave it out"}
}

// decodeCreate reads the attributes of a new image; what is no attribute is a property.
func decodeCreate(body []byte) (*image.CreateRequest, error) {
	var in map[string]json.RawMessage
	if err := rest.DecodeJSON(body, &in, rest.Loose); err != nil {
		return nil, err
	}
	req := &image.CreateRequest{}
	if raw, ok := in["id"]; ok {
		id, err := value[string]("id", raw)
		if err != nil {
			return nil, err
		}
		if id == "" {
			return nil, fault.InvalidField("id", id, "it must be a UUID; leave it out to have one made")
		}
		req.ID = id
		delete(in, "id")
	}
	var c change
	for name, raw := range in {
		if err := c.set(name, raw); err != nil {
			return nil, err
		}
	}
	u := c.UpdateRequest
	req.Name, req.Owner, req.Visibility, req.Protected, req.Hidden = or(u.Name), or(u.Owner), or(u.Visibility), or(u.Protected), or(u.Hidden)
	req.DiskFormat, req.ContainerFormat, req.MinDiskGiB, req.MinRAMMiB, req.Tags = or(u.DiskFormat), or(u.ContainerFormat), or(u.MinDiskGiB), or(u.MinRAMMiB), or(u.Tags)
	if u.Visibility != nil && *u.Visibility == "" {
		return nil, fault.InvalidField("visibility", "", "it must be public, private, shared or community")
	}
	for name, v := range u.Properties {
		if req.Properties == nil {
			req.Properties = map[string]string{}
		}
		req.Properties[name] = *v
	}
	return req, nil
}

func or[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// change collects what is set.
type change struct{ image.UpdateRequest }

// set gives an attribute or a property a value.
func (c *change) set(name string, raw json.RawMessage) (err error) {
	switch name {
	case "name":
		c.Name, err = pointer[string](name, raw)
	case "owner":
		c.Owner, err = pointer[string](name, raw)
	case "visibility":
		c.Visibility, err = pointer[image.Visibility](name, raw)
	case "protected":
		c.Protected, err = pointer[bool](name, raw)
	case "os_hidden":
		c.Hidden, err = pointer[bool](name, raw)
	case "disk_format":
		c.DiskFormat, err = pointer[string](name, raw)
	case "container_format":
		c.ContainerFormat, err = pointer[string](name, raw)
	case "min_disk":
		c.MinDiskGiB, err = pointer[int64](name, raw)
	case "min_ram":
		c.MinRAMMiB, err = pointer[int64](name, raw)
	case "tags":
		c.Tags, err = pointer[[]string](name, raw)
	default:
		if image.Reserved(name) {
			return readOnly(name)
		}
		var v *string
		if v, err = pointer[string](name, raw); err != nil {
			return err
		}
		if string(raw) == "null" {
			return fault.InvalidField(name, nil, "a property must be a string; leave it out, or remove it")
		}
		if c.Properties == nil {
			c.Properties = map[string]*string{}
		}
		c.Properties[name] = v
	}
	return err
}

func pointer[T any](name string, raw json.RawMessage) (*T, error) {
	v, err := value[T](name, raw)
	return &v, err
}

// value decodes one attribute; null is the zero value.
func value[T any](name string, raw json.RawMessage) (v T, err error) {
	wrapped := append(append([]byte(`{"v":`), raw...), '}')
	var in struct {
		V T `json:"v"`
	}
	err = rest.DecodeJSON(wrapped, &in, rest.Strict)
	if fe, ok := err.(*fault.Error); ok {
		c := *fe
		c.Field = name
		err = &c
	}
	return in.V, err
}

// operation is one operation of a JSON patch.
type operation struct {
	Op    string          `json:"op"`
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value"`
}

const patchType = "application/openstack-images-v2.1-json-patch"

func decodePatch(contentType string, body []byte) (ops []operation, err error) {
	if kind, _, err := mime.ParseMediaType(contentType); err != nil || kind != patchType {
		return nil, rest.Status(http.StatusUnsupportedMediaType, "a patch of an image must have the content type "+patchType)
	}
	if err := rest.DecodeJSON(body, &ops, rest.Strict); err != nil {
		return nil, err
	}
	for _, op := range ops {
		if op.Op != "add" && op.Op != "replace" && op.Op != "remove" {
			return nil, fault.InvalidField("op", op.Op, "it must be add, replace or remove")
		}
		if (op.Value == nil) == (op.Op != "remove") {
			return nil, fault.InvalidField("op", op.Op, "add and replace have a value, remove has none")
		}
		if !strings.HasPrefix(op.Path, "/") || op.Path == "/" {
			return nil, fault.InvalidField("path", op.Path, "it must name an attribute or a property, such as /name")
		}
	}
	return ops, nil
}

// applyPatch turns a patch into what it changes on an image.
func applyPatch(was *image.Image, ops []operation) (*image.UpdateRequest, error) {
	c := change{}
	for _, op := range ops {
		parts := strings.Split(op.Path[1:], "/")
		for n, p := range parts {
			parts[n] = strings.NewReplacer("~1", "/", "~0", "~").Replace(p)
		}
		var err error
		switch {
		case len(parts) == 2 && parts[0] == "tags":
			err = c.patchTag(was, op, parts[1])
		case len(parts) != 1:
			err = fault.InvalidField("path", op.Path, "only /tags has something below it; write a slash in a name as ~1")
		default:
			err = c.patch(was, op, parts[0])
		}
		if err != nil {
			return nil, err
		}
	}
	return &c.UpdateRequest, nil
}

func (c *change) patch(was *image.Image, op operation, name string) error {
	if slices.Contains(writable, name) {
		if op.Op == "remove" {
			return &fault.Error{Code: fault.Denied, Kind: "image", ID: was.ID, Field: name, Msg: "cannot be removed; replace it"}
		}
		return c.set(name, op.Value)
	}
	if image.Reserved(name) {
		return readOnly(name)
	}
	_, has := was.Properties[name]
	if v, changed := c.Properties[name]; changed {
		has = v != nil
	}
	if op.Op != "add" && !has {
		return &fault.Error{Code: fault.Conflict, Kind: "image", ID: was.ID, Field: name, Msg: "the image has no such property; add it"}
	}
	if op.Op != "remove" {
		return c.set(name, op.Value)
	}
	if c.Properties == nil {
		c.Properties = map[string]*string{}
	}
	c.Properties[name] = nil
	return nil
}

// patchTag changes one tag of the list, as generic makers of patches ask for it.
func (c *change) patchTag(was *image.Image, op operation, at string) error {
	tags := slices.Clone(was.Tags)
	if c.Tags != nil {
		tags = slices.Clone(*c.Tags)
	}
	n, err := strconv.Atoi(at)
	if at == "-" && op.Op == "add" {
		n, err = len(tags), nil
	}
	if err != nil || n < 0 || n > len(tags) || n == len(tags) && op.Op != "add" {
		return fault.InvalidField("path", op.Path, "the image has no tag at that place")
	}
	tag := ""
	if op.Op != "remove" {
		if tag, err = value[string]("tags", op.Value); err != nil {
			return err
		}
	}
	switch op.Op {
	case "add":
		tags = slices.Insert(tags, n, tag)
	case "replace":
		tags[n] = tag
	case "remove":
		tags = slices.Delete(tags, n, n+1)
	}
	c.Tags = &tags
	return nil
}
