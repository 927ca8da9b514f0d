package nova

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

func (a *api) flavorRoutes() []rest.Route {
	q := only(75, "limit", "marker", "is_public", "minRam", "minDisk", "sort_key", "sort_dir")
	return []rest.Route{
		get("/flavors", q.with(a.listFlavors)),
		get("/flavors/detail", q.with(a.listFlavorsDetail)),
		post("/flavors", a.createFlavor),
		get("/flavors/{id}", a.getFlavor),
		since(55, put("/flavors/{id}", a.updateFlavor)),
		del("/flavors/{id}", a.deleteFlavor),
		post("/flavors/{id}/action", a.flavorAction),
		get("/flavors/{id}/os-flavor-access", a.listFlavorAccess),
		get("/flavors/{id}/os-extra_specs", a.listSpecs),
		post("/flavors/{id}/os-extra_specs", a.createSpecs),
		get("/flavors/{id}/os-extra_specs/{key}", a.getSpec),
		put("/flavors/{id}/os-extra_specs/{key}", a.updateSpec),
		del("/flavors/{id}/os-extra_specs/{key}", a.deleteSpec),
	}
}

// flavorView is a flavor as one call shows it.
type flavorView struct {
	*compute.Flavor
	r *rest.Request
}

func flavorBriefFields() []field[flavorView] {
	return []field[flavorView]{
		{name: "id", value: func(v flavorView) any { return v.ID }},
		{name: "name", value: func(v flavorView) any { return v.Name }},
		{name: "links", value: func(v flavorView) any { return v.r.Links("/flavors/" + url.PathEscape(v.ID)) }},
		{name: "description", since: 55, value: func(v flavorView) any { return orNull(v.Description) }},
	}
}

func flavorFields() []field[flavorView] {
	return append(flavorBriefFields(), []field[flavorView]{
		{name: "ram", value: func(v flavorView) any { return v.MemoryMiB }},
		{name: "vcpus", value: func(v flavorView) any { return v.VCPUs }},
		{name: "disk", value: func(v flavorView) any { return v.DiskGiB }},
		{name: "swap", until: 74, value: func(v flavorView) any {
			if v.SwapMiB == 0 {
				return ""
			}
			return v.SwapMiB
		}},
		{name: "swap", since: 75, value: func(v flavorView) any { return v.SwapMiB }},
		{name: "rxtx_factor", value: func(v flavorView) any {
			return json.Number(strconv.FormatFloat(v.RxTxFactor, 'f', -1, 64) + tenths(v.RxTxFactor))
		}},
		{name: "OS-FLV-EXT-DATA:ephemeral", value: func(v flavorView) any { return v.EphemeralGiB }},
		{name: "OS-FLV-DISABLED:disabled", value: func(v flavorView) any { return v.Disabled }},
		{name: "os-flavor-access:is_public", value: func(v flavorView) any { return v.Public }},
		{name: "extra_specs", since: 61, value: func(v flavorView) any { return orEmpty(v.ExtraSpecs) }},
	}...)
}

// tenths makes 1 read 1.0: some clients take a number without a point for an integer.
func tenths(f float64) string {
	if f == float64(int64(f)) {
		return ".0"
	}
	return ""
}

func (a *api) listFlavors(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return a.flavorList(ctx, r, flavorBriefFields())
}

func (a *api) listFlavorsDetail(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return a.flavorList(ctx, r, flavorFields())
}

func flavorSortKeys() []string {
	return []string{"flavorid", "created_at", "description", "disabled", "ephemeral_gb", "id", "is_public", "memory_mb", "name",
		"root_gb", "rxtx_factor", "swap", "updated_at", "vcpu_weight", "vcpus"}
}

func (a *api) flavorList(ctx context.Context, r *rest.Request, fields []field[flavorView]) (*rest.Response, error) {
	page, err := r.Page(1000, flavorSortKeys()...)
	if err != nil {
		return nil, err
	}
	q := compute.FlavorQuery{Marker: page.Marker, Limit: page.Limit}
	if len(page.Sort) > 0 {
		q.SortKey, q.SortDesc = page.Sort[0].Key, page.Sort[0].Desc
	}
	if r.Principal.IsAdmin() {
		public := true
		switch text := r.Query.Get("is_public"); {
		case strings.EqualFold(text, "none"):
			q.All = true
		case r.Query.Has("is_public"):
			if public, err = r.Flag("is_public", true); err != nil {
				return nil, err
			}
			q.Public = &public
		default:
			q.Public = &public
		}
	}
	if q.MinMemoryMiB, err = wholeNumber(r, "minRam"); err != nil {
		return nil, err
	}
	if q.MinDiskGiB, err = wholeNumber(r, "minDisk"); err != nil {
		return nil, err
	}
	list := []object{}
	if page.Limit == 0 {
		return rest.OK(object{"flavors": list}), nil
	}
	all, more, err := a.as(r).ListFlavors(ctx, q)
	if err != nil {
		return nil, err
	}
	for _, f := range all {
		list = append(list, show(object{}, fields, flavorView{f, r}, minor(r)))
	}
	doc := object{"flavors": list}
	if more {
		addNext(doc, "flavors_links", r, true, all[len(all)-1].ID, page.Limit)
	}
	return rest.OK(doc), nil
}

// wholeNumber reads an integer of the query; absent is 0.
func wholeNumber(r *rest.Request, name string) (int64, error) {
	if !r.Query.Has(name) {
		return 0, nil
	}
	n, err := strconv.ParseInt(r.Query.Get(name), 10, 64)
	if err != nil {
		return 0, fault.InvalidField(name, r.Query.Get(name), "it must be an integer")
	}
	return n, nil
}

func (a *api) getFlavor(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	f, err := a.as(r).GetFlavor(ctx, r.Value("id"))
	if err != nil {
		return nil, err
	}
	return rest.OK(object{"flavor": show(object{}, flavorFields(), flavorView{f, r}, minor(r))}), nil
}

func flavorDescription(at string, v any, n int) error {
	return nullable(text(0, 65535, "use printable characters", printable))(at, v, n)
}

func flavorShape() rule {
	id := either(nullable(integer(0, unbounded)), text(1, 255, "use letters, digits, '.', '_', '-' and inner spaces", func(s string) bool {
		return strings.TrimSpace(s) == s && !strings.ContainsFunc(s, func(c rune) bool { return !isAlnum(c) && !strings.ContainsRune(". _-", c) })
	}))
	return under("flavor", props{
		{name: "name", rule: name, must: 1},
		{name: "id", rule: id},
		{name: "ram", rule: integer(1, unbounded), must: 1},
		{name: "vcpus", rule: integer(1, unbounded), must: 1},
		{name: "disk", rule: integer(0, unbounded), must: 1},
		{name: "OS-FLV-EXT-DATA:ephemeral", rule: integer(0, unbounded)},
		{name: "swap", rule: integer(0, unbounded)},
		{name: "rxtx_factor", rule: factor},
		{name: "os-flavor-access:is_public", rule: boolean},
		{name: "description", since: 55, rule: flavorDescription},
	}.check)
}

// factor is a number above 0, or a string of one.
func factor(at string, v any, _ int) error {
	var f float64
	var err error
	switch n := v.(type) {
	case json.Number:
		f, err = n.Float64()
	case string:
		f, err = strconv.ParseFloat(n, 64)
	default:
		return wrong(at, v, "it must be a number")
	}
	if err != nil || !(f > 0 && f <= 3.40282e+38) {
		return wrong(at, v, "it must be a number above 0")
	}
	return nil
}

func (a *api) createFlavor(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	body, err := read[struct {
		Flavor struct {
			Name        string     `json:"name"`
			ID          ref        `json:"id"`
			RAM         rest.Int   `json:"ram"`
			VCPUs       rest.Int   `json:"vcpus"`
			Disk        rest.Int   `json:"disk"`
			Ephemeral   rest.Int   `json:"OS-FLV-EXT-DATA:ephemeral"`
			Swap        rest.Int   `json:"swap"`
			Factor      ref        `json:"rxtx_factor"`
			Public      *rest.Bool `json:"os-flavor-access:is_public"`
			Description string     `json:"description"`
		} `json:"flavor"`
	}](r, flavorShape())
	if err != nil {
		return nil, err
	}
	b := &body.Flavor
	if b.ID == "null" {
		b.ID = ""
	}
	req := compute.CreateFlavor{
		ID: string(b.ID), Name: b.Name, Description: b.Description, VCPUs: int(b.VCPUs), MemoryMiB: int64(b.RAM), DiskGiB: int64(b.Disk),
		EphemeralGiB: int64(b.Ephemeral), SwapMiB: int64(b.Swap), Private: b.Public != nil && !bool(*b.Public),
	}
	if b.Factor != "" {
		if req.RxTxFactor, err = strconv.ParseFloat(string(b.Factor), 64); err != nil {
			return nil, fault.InvalidField("flavor.rxtx_factor", string(b.Factor), "it must be a number above 0")
		}
	}
	f, err := a.as(r).CreateFlavor(ctx, req)
	if err != nil {
		return nil, err
	}
	return rest.OK(object{"flavor": show(object{}, flavorFields(), flavorView{f, r}, minor(r))}), nil
}

func (a *api) updateFlavor(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	body, err := read[struct {
		Flavor struct {
			Description string `json:"description"`
		} `json:"flavor"`
	}](r, under("flavor", props{{name: "description", rule: flavorDescription, must: 1}}.check))
	if err != nil {
		return nil, err
	}
	f, err := a.as(r).UpdateFlavor(ctx, r.Value("id"), compute.UpdateFlavor{Description: &body.Flavor.Description})
	if err != nil {
		return nil, err
	}
	return rest.OK(object{"flavor": show(object{}, flavorFields(), flavorView{f, r}, minor(r))}), nil
}

func (a *api) deleteFlavor(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return rest.Accepted(nil), a.as(r).DeleteFlavor(ctx, r.Value("id"))
}

func accessView(list []compute.FlavorAccess) object {
	out := []object{}
	for _, v := range list {
		out = append(out, object{"flavor_id": v.FlavorID, "tenant_id": v.ProjectID})
	}
	return object{"flavor_access": out}
}

func (a *api) listFlavorAccess(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	list, err := a.as(r).ListFlavorAccess(ctx, r.Value("id"))
	if err != nil {
		return nil, err
	}
	return rest.OK(accessView(list)), nil
}

func (a *api) flavorAction(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	tenant := props{{name: "tenant", rule: text(1, 255, "", nil), must: 1}}.check
	type access struct {
		Tenant string `json:"tenant"`
	}
	body, err := read[struct {
		Add    *access `json:"addTenantAccess"`
		Remove *access `json:"removeTenantAccess"`
	}](r, props{{name: "addTenantAccess", rule: tenant}, {name: "removeTenantAccess", rule: tenant}}.check)
	if err != nil {
		return nil, err
	}
	var list []compute.FlavorAccess
	switch {
	case (body.Add == nil) == (body.Remove == nil):
		return nil, fault.New(fault.Invalid, "the body must have either addTenantAccess or removeTenantAccess")
	case body.Add != nil:
		list, err = a.as(r).AddFlavorAccess(ctx, r.Value("id"), body.Add.Tenant)
	default:
		list, err = a.as(r).RemoveFlavorAccess(ctx, r.Value("id"), body.Remove.Tenant)
	}
	if err != nil {
		return nil, err
	}
	return rest.OK(accessView(list)), nil
}
