package glance

import (
	"context"
	"encoding/csv"
	"net/url"
	"strconv"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/image"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

const (
	defaultLimit = 25
	maxLimit     = 1000
)

func (a *api) list(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	p, err := r.Page(maxLimit, image.SortKeys()...)
	if err != nil {
		return nil, err
	}
	if !p.Asked {
		p.Limit = defaultLimit
	}
	q, err := query(r)
	if err != nil {
		return nil, err
	}
	q.Marker, q.Limit = p.Marker, p.Limit
	for _, k := range p.Sort {
		// Glance sorts downwards where nobody says otherwise.
		desc := k.Desc || !r.Query.Has("sort_dir") && !strings.Contains(r.Query.Get("sort"), ":")
		q.Sort = append(q.Sort, image.SortKey{Key: k.Key, Desc: desc})
	}
	body := object{"images": []object{}, "first": below(r.First()), "schema": "/v2/schemas/images"}
	if p.Limit == 0 {
		return rest.OK(body), nil
	}
	list, more, err := a.as(r).List(ctx, *q)
	if err != nil {
		return nil, err
	}
	views := []object{}
	for _, i := range list {
		views = append(views, view(i))
	}
	body["images"] = views
	if more {
		next := r.Next(list[len(list)-1].ID, p.Limit)
		body["next"] = below(next)
	}
	return rest.OK(body), nil
}

// below cuts a URL down to what stands below the service's root, "/v2/images?..", as Glance writes its links.
func below(link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return link
	}
	out := u.Path[strings.LastIndex(u.Path, "/v2/"):]
	if u.RawQuery != "" {
		out += "?" + u.RawQuery
	}
	return out
}

// query reads the filters; a name that is no attribute is a property's.
func query(r *rest.Request) (*image.Query, error) {
	q := &image.Query{}
	for name, values := range r.Query {
		if err := filter(q, r, name, values); err != nil {
			return nil, err
		}
	}
	return q, nil
}

func filter(q *image.Query, r *rest.Request, name string, values []string) (err error) {
	text := values[len(values)-1]
	switch name {
	case "limit", "marker", "sort_key", "sort_dir", "sort", "page_reverse":
	case "id":
		q.IDs, err = any1(name, text)
	case "name":
		q.Names, err = any1(name, text)
	case "status":
		q.Statuses, err = any1(name, text)
	case "disk_format":
		q.DiskFormats, err = any1(name, text)
	case "container_format":
		q.ContainerFormats, err = any1(name, text)
	case "checksum":
		q.Checksums = []string{text}
	case "os_hash_value":
		q.HashValues = []string{text}
	case "visibility":
		q.Visibility = image.Visibility(text)
		if !oneOf(text, "public", "private", "shared", "community", "all") {
			err = fault.InvalidField(name, text, "it must be public, private, shared, community or all")
		}
	case "owner":
		q.Owner = text
	case "tag":
		q.Tags = values
	case "member_status":
		q.MemberStatus = image.MemberStatus(text)
		if !oneOf(text, "pending", "accepted", "rejected", "all") {
			err = fault.InvalidField(name, text, "it must be pending, accepted, rejected or all")
		}
	case "os_hidden":
		q.Hidden, err = r.Flag(name, false)
	case "protected":
		q.Protected, err = flag(r, name)
	case "min_disk":
		q.MinDiskGiB, err = number(name, text)
	case "min_ram":
		q.MinRAMMiB, err = number(name, text)
	case "size_min":
		q.SizeMin, err = number(name, text)
	case "size_max":
		q.SizeMax, err = number(name, text)
	case "created_at":
		q.Created, err = bounds(name, values)
	case "updated_at":
		q.Updated, err = bounds(name, values)
	default:
		if q.Properties == nil {
			q.Properties = map[string]string{}
		}
		q.Properties[name] = text
	}
	return err
}

func oneOf(s string, list ...string) bool {
	for _, v := range list {
		if s == v {
			return true
		}
	}
	return false
}

// any1 reads "in:a,b" as a list, in which values with commas are quoted, and anything else as itself.
func any1(name, text string) ([]string, error) {
	list, ok := strings.CutPrefix(text, "in:")
	if !ok {
		return []string{text}, nil
	}
	values, err := csv.NewReader(strings.NewReader(list)).Read()
	if err != nil {
		return nil, fault.InvalidField(name, text, `write in:a,b and values with commas in double quotes`)
	}
	return values, nil
}

func flag(r *rest.Request, name string) (*bool, error) {
	v, err := r.Flag(name, false)
	return &v, err
}

func number(name, text string) (*int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return nil, fault.InvalidField(name, text, "it must be an integer of 0 or more")
	}
	return &n, nil
}

// bounds reads times with an operator before them: "gt:2026-01-02T03:04:05Z"; without one it is eq.
func bounds(name string, values []string) ([]image.TimeBound, error) {
	var out []image.TimeBound
	for _, text := range values {
		op, rest1, ok := strings.Cut(text, ":")
		if !ok || !oneOf(op, "eq", "neq", "gt", "gte", "lt", "lte") {
			op, rest1 = "eq", text
		}
		at, err := rest.ParseTime(name, rest1)
		if err != nil {
			return nil, err
		}
		out = append(out, image.TimeBound{Op: op, At: at})
	}
	return out, nil
}
