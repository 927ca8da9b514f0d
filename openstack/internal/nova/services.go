package nova

import (
	"context"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// binary is the only service there is: the one that drives a host.
const binary = "nova-compute"

func serviceFields() []field[*compute.Host] {
	return []field[*compute.Host]{
		{name: "id", until: 52, value: func(h *compute.Host) any { return number(h.ID) }},
		{name: "id", since: 53, value: func(h *compute.Host) any { return h.ID }},
		{name: "binary", value: func(h *compute.Host) any { return binary }},
		{name: "host", value: func(h *compute.Host) any { return h.Name }},
		{name: "zone", value: func(h *compute.Host) any { return h.Zone }},
		{name: "status", value: func(h *compute.Host) any { return enabled(h) }},
		{name: "state", value: func(h *compute.Host) any { return upOrDown(h) }},
		{name: "updated_at", value: func(h *compute.Host) any { return orNull(rest.NaiveMicros(h.SeenAt)) }},
		{name: "disabled_reason", value: func(h *compute.Host) any { return orNull(h.DisabledReason) }},
		{name: "forced_down", since: 11, value: func(h *compute.Host) any { return h.ForcedDown }},
	}
}

func (a *api) listServices(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	hosts, err := a.as(r).ListHosts(ctx)
	if err != nil {
		return nil, err
	}
	list := []object{}
	host, kind := r.Query.Get("host"), r.Query.Get("binary")
	for _, h := range hosts {
		if (host == "" || host == h.Name) && (kind == "" || kind == binary) {
			list = append(list, show(object{}, serviceFields(), h, minor(r)))
		}
	}
	return rest.OK(object{"services": list}), nil
}

// updateService is PUT /os-services/{id}: since 2.53 the id of a service, before that what to do.
func (a *api) updateService(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	if r.AtLeast(53) {
		return a.updateServiceByID(ctx, r)
	}
	return a.updateServiceByHost(ctx, r)
}

func (a *api) updateServiceByID(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	body, err := read[struct {
		Status     *string    `json:"status"`
		Reason     *string    `json:"disabled_reason"`
		ForcedDown *rest.Bool `json:"forced_down"`
	}](r, props{
		{name: "status", rule: oneOf("enabled", "disabled")},
		{name: "disabled_reason", rule: text(1, 255, "", nil)},
		{name: "forced_down", rule: boolean},
	}.check)
	if err != nil {
		return nil, err
	}
	h, err := a.host(ctx, r, r.Value("id"), "service")
	if err != nil {
		return nil, err
	}
	var req compute.UpdateHost
	if body.Status != nil {
		disabled, none := *body.Status == "disabled", ""
		req.Disabled, req.DisabledReason = &disabled, &none
	}
	if body.Reason != nil {
		if body.Status == nil || *body.Status != "disabled" {
			return nil, fault.InvalidField("disabled_reason", *body.Reason, `it goes with status "disabled" only`)
		}
		req.DisabledReason = body.Reason
	}
	if body.ForcedDown != nil {
		down := bool(*body.ForcedDown)
		req.ForcedDown = &down
	}
	if req == (compute.UpdateHost{}) {
		return nil, fault.New(fault.Invalid, "no updates were requested: give status, disabled_reason or forced_down")
	}
	if h, err = a.as(r).UpdateHost(ctx, h.ID, req); err != nil {
		return nil, err
	}
	return rest.OK(object{"service": show(object{}, serviceFields(), h, minor(r))}), nil
}

func (a *api) updateServiceByHost(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	body, err := read[struct {
		Host       string     `json:"host"`
		Binary     string     `json:"binary"`
		Reason     string     `json:"disabled_reason"`
		ForcedDown *rest.Bool `json:"forced_down"`
	}](r, props{
		{name: "host", rule: fqdn, must: 1},
		{name: "binary", rule: text(1, 255, "", nil), must: 1},
		{name: "disabled_reason", rule: text(1, 255, "", nil)},
		{name: "forced_down", since: 11, rule: boolean},
	}.check)
	if err != nil {
		return nil, err
	}
	var req compute.UpdateHost
	doc := object{"host": body.Host, "binary": body.Binary}
	disabled := false
	switch what := r.Value("id"); {
	case what == "enable":
		doc["status"] = "enabled"
		req.Disabled, req.DisabledReason = &disabled, new(string)
	case what == "disable", what == "disable-log-reason":
		disabled = true
		doc["status"] = "disabled"
		req.Disabled, req.DisabledReason = &disabled, new(string)
		if what == "disable" {
			break
		}
		if body.Reason == "" {
			return nil, &fault.Error{Code: fault.Invalid, Field: "disabled_reason", Msg: "is missing: give a reason, or use disable"}
		}
		doc["disabled_reason"] = body.Reason
		req.DisabledReason = &body.Reason
	case what == "force-down" && r.AtLeast(11):
		if body.ForcedDown == nil {
			return nil, &fault.Error{Code: fault.Invalid, Field: "forced_down", Msg: "is missing: give true or false"}
		}
		down := bool(*body.ForcedDown)
		doc["forced_down"], req.ForcedDown = down, &down
	default:
		return nil, fault.New(fault.NotFound, "unknown action %s", what)
	}
	if body.Binary != binary {
		return nil, fault.InvalidField("binary", body.Binary, "only a "+binary+" service can be updated")
	}
	h, err := a.as(r).GetHost(ctx, body.Host)
	if err != nil {
		return nil, err
	}
	if _, err := a.as(r).UpdateHost(ctx, h.ID, req); err != nil {
		return nil, err
	}
	return rest.OK(object{"service": doc}), nil
}

// deleteService: a host is what a process was started with, so that no call can remove it.
func (a *api) deleteService(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	h, err := a.host(ctx, r, r.Value("id"), "service")
	if err != nil {
		return nil, err
	}
	return nil, fault.New(fault.Conflict, "host %s is part of the cloud's configuration: disable it, or take it out of there", h.Name)
}

func (a *api) listZones(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return a.zoneList(ctx, r, false)
}

func (a *api) listZonesDetail(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	if !r.Principal.IsAdmin() {
		return nil, fault.New(fault.Denied, "only administrators may see the hosts of availability zones")
	}
	return a.zoneList(ctx, r, true)
}

func (a *api) zoneList(ctx context.Context, r *rest.Request, detail bool) (*rest.Response, error) {
	zones, err := a.as(r).ListZones(ctx, detail)
	if err != nil {
		return nil, err
	}
	list := []object{}
	for _, z := range zones {
		doc := object{"zoneName": z.Name, "zoneState": object{"available": z.Available}, "hosts": nil}
		if detail && z.Available {
			hosts := object{}
			for _, h := range z.Hosts {
				hosts[h.Name] = object{binary: object{"active": !h.Disabled, "available": h.Up, "updated_at": orNull(rest.NaiveMicros(h.SeenAt))}}
			}
			doc["hosts"] = hosts
		}
		list = append(list, doc)
	}
	return rest.OK(object{"availabilityZoneInfo": list}), nil
}
