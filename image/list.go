package image

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/store"
)

// Query selects images. Empty fields do not select; where a list is given, one of it must match.
type Query struct {
	IDs, Names, Statuses, DiskFormats, ContainerFormats, Checksums, HashValues []string
	// Visibility "" is what the caller sees by default: his own, public ones, and shared ones that he has
	// accepted. "all" adds community images.
	Visibility   Visibility
	Owner        string
	Tags         []string     // the image must have all of them
	MemberStatus MemberStatus // of images shared with the caller; "" is Accepted, "all" any
	Hidden       bool         // lists hidden images, and no others
	Protected    *bool
	MinDiskGiB   *int64
	MinRAMMiB    *int64
	SizeMin      *int64 // bytes
	SizeMax      *int64
	Created      []TimeBound
	Updated      []TimeBound
	Properties   map[string]string

	// Sort is the order; equals follow newest first. Keys are those of SortKeys.
	Sort []SortKey
	// Marker is the id of the image after which to go on; "" starts. Invalid: it is not an image that the caller sees.
	Marker string
	// Limit is the most images to return; 0 means all.
	Limit int
}

// TimeBound compares a time: Op is eq, neq, gt, gte, lt or lte.
type TimeBound struct {
	Op string
	At time.Time
}

// SortKey is one key of an order.
type SortKey struct {
	Key  string
	Desc bool
}

// sortKeys compares images by each key.
var sortKeys = map[string]func(a, b *Image) int{
	"id":               func(a, b *Image) int { return cmp.Compare(a.ID, b.ID) },
	"name":             func(a, b *Image) int { return cmp.Compare(a.Name, b.Name) },
	"status":           func(a, b *Image) int { return cmp.Compare(a.Status, b.Status) },
	"container_format": func(a, b *Image) int { return cmp.Compare(a.ContainerFormat, b.ContainerFormat) },
	"disk_format":      func(a, b *Image) int { return cmp.Compare(a.DiskFormat, b.DiskFormat) },
	"size":             func(a, b *Image) int { return cmp.Compare(a.SizeBytes, b.SizeBytes) },
	"virtual_size":     func(a, b *Image) int { return cmp.Compare(a.VirtualBytes, b.VirtualBytes) },
	"min_disk":         func(a, b *Image) int { return cmp.Compare(a.MinDiskGiB, b.MinDiskGiB) },
	"min_ram":          func(a, b *Image) int { return cmp.Compare(a.MinRAMMiB, b.MinRAMMiB) },
	"owner":            func(a, b *Image) int { return cmp.Compare(a.Owner, b.Owner) },
	"visibility":       func(a, b *Image) int { return cmp.Compare(a.Visibility, b.Visibility) },
	"checksum":         func(a, b *Image) int { return cmp.Compare(a.MD5, b.MD5) },
	"created_at":       func(a, b *Image) int { return a.CreatedAt.Compare(b.CreatedAt) },
	"updated_at":       func(a, b *Image) int { return a.UpdatedAt.Compare(b.UpdatedAt) },
}

// SortKeys returns the keys that a list can be sorted by, in order.
func SortKeys() []string {
	var keys []string
	for k := range sortKeys {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// List returns the images that a query selects, newest first unless it says otherwise, and whether more follow.
func (s *Service) List(ctx context.Context, q Query) (list []*Image, more bool, err error) {
	for _, k := range q.Sort {
		if sortKeys[k.Key] == nil {
			return nil, false, fault.InvalidField("sort_key", k.Key, "sort by one of "+strings.Join(SortKeys(), ", "))
		}
	}
	for _, b := range append(slices.Clone(q.Created), q.Updated...) {
		if !slices.Contains([]string{"eq", "neq", "gt", "gte", "lt", "lte"}, b.Op) {
			return nil, false, fault.InvalidField("operator", b.Op, "it must be eq, neq, gt, gte, lt or lte")
		}
	}
	err = s.store.View(ctx, func(tx *store.Tx) error {
		c, err := s.caller(tx)
		if err != nil {
			return err
		}
		if err := c.policy.Check(c.Principal, "image:image:list", identity.Target{Kind: "image"}); err != nil {
			return err
		}
		statuses, err := c.memberships(tx)
		if err != nil {
			return err
		}
		list, more, err = q.run(tx, c, statuses)
		return err
	})
	return list, more, err
}

// memberships returns what the caller's project made of the images shared with it.
func (c caller) memberships(tx *store.Tx) (map[string]MemberStatus, error) {
	out := map[string]MemberStatus{}
	if c.ProjectID == "" {
		return out, nil
	}
	for m, err := range members.Each(tx, store.Query[Member]{Index: "project", Prefix: store.Tuple{c.ProjectID}}) {
		if err != nil {
			return nil, err
		}
		out[m.ImageID] = m.Status
	}
	return out, nil
}

func (q *Query) run(tx *store.Tx, c caller, statuses map[string]MemberStatus) ([]*Image, bool, error) {
	sq := store.Query[Image]{Index: "created_at", Reverse: true, Filter: func(i *Image) bool {
		return q.matches(i) && q.sees(c, i, statuses[i.ID])
	}}
	var marker *Image
	if q.Marker != "" {
		var err error
		marker, err = images.Get(tx, q.Marker)
		_, member := statuses[q.Marker]
		if fault.Is(err, fault.NotFound) || err == nil && c.may("get", marker, member && marker.Visibility == Shared) != nil {
			return nil, false, fault.InvalidField("marker", q.Marker, "no image has that id: list again from the start")
		}
		if err != nil {
			return nil, false, err
		}
	}
	if len(q.Sort) == 0 {
		sq.After = marker
		if q.Limit > 0 {
			sq.Limit = q.Limit + 1
		}
	}
	list, err := images.List(tx, sq)
	if err != nil {
		return nil, false, err
	}
	if len(q.Sort) > 0 {
		slices.SortStableFunc(list, q.compare)
		if marker != nil {
			n, found := slices.BinarySearchFunc(list, marker, q.compare)
			if found {
				n++
			}
			list = list[n:]
		}
	}
	if q.Limit > 0 && len(list) > q.Limit {
		return list[:q.Limit], true, nil
	}
	return list, false, nil
}

// compare is the order of a query. It tells any two images apart.
func (q *Query) compare(a, b *Image) int {
	for _, k := range q.Sort {
		n := sortKeys[k.Key](a, b)
		if k.Desc {
			n = -n
		}
		if n != 0 {
			return n
		}
	}
	return -cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
}

// sees reports whether an image belongs into the caller's list; status is what his project made of it, "" if it is no member.
func (q *Query) sees(c caller, i *Image, status MemberStatus) bool {
	if q.Visibility != "" && q.Visibility != "all" && i.Visibility != q.Visibility {
		return false
	}
	switch {
	case c.ProjectID != "" && i.Owner == c.ProjectID, i.Visibility == Public:
		return true
	case i.Visibility == Community:
		return q.Visibility != "" || c.IsAdmin()
	case i.Visibility == Shared && status != "" && (status == cmp.Or(q.MemberStatus, Accepted) || q.MemberStatus == "all"):
		return true
	}
	return c.IsAdmin()
}

func (q *Query) matches(i *Image) bool {
	for _, f := range []struct {
		want []string
		got  string
	}{
		{q.IDs, i.ID}, {q.Names, i.Name}, {q.Statuses, string(i.Status)}, {q.DiskFormats, i.DiskFormat},
		{q.ContainerFormats, i.ContainerFormat}, {q.Checksums, i.MD5}, {q.HashValues, i.SHA512},
	} {
		if len(f.want) > 0 && !slices.Contains(f.want, f.got) {
			return false
		}
	}
	for _, tag := range q.Tags {
		if !slices.Contains(i.Tags, tag) {
			return false
		}
	}
	for name, value := range q.Properties {
		if got, ok := i.Properties[name]; !ok || got != value {
			return false
		}
	}
	return i.Hidden == q.Hidden && (q.Owner == "" || i.Owner == q.Owner) &&
		equal(q.Protected, i.Protected) && equal(q.MinDiskGiB, i.MinDiskGiB) && equal(q.MinRAMMiB, i.MinRAMMiB) &&
		(q.SizeMin == nil || i.HasData() && i.SizeBytes >= *q.SizeMin) && (q.SizeMax == nil || i.HasData() && i.SizeBytes <= *q.SizeMax) &&
		within(q.Created, i.CreatedAt) && within(q.Updated, i.UpdatedAt)
}

func equal[T comparable](want *T, got T) bool { return want == nil || *want == got }

// within compares times in whole seconds, which is all that clients see of them.
func within(bounds []TimeBound, t time.Time) bool {
	for _, b := range bounds {
		n := t.Truncate(time.Second).Compare(b.At.Truncate(time.Second))
		ok := map[string]bool{"eq": n == 0, "neq": n != 0, "gt": n > 0, "gte": n >= 0, "lt": n < 0, "lte": n <= 0}[b.Op]
		if !ok {
			return false
		}
	}
	return true
}
