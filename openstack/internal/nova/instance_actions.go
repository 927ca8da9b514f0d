package nova

import (
	"context"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

func (a *api) actionRoutes() []rest.Route {
	paged := query{strict: 58, params: []param{
		{name: "limit", since: 58, once: true}, {name: "marker", since: 58, once: true},
		{name: "changes-since", since: 58, once: true}, {name: "changes-before", since: 66, once: true},
	}}
	return []rest.Route{
		get("/servers/{id}/os-instance-actions", paged.with(a.listActions)),
		get("/servers/{id}/os-instance-actions/{request}", a.getAction),
	}
}

func actionFields() []field[*compute.Action] {
	return []field[*compute.Action]{
		{name: "action", value: func(v *compute.Action) any { return v.Name }},
		{name: "instance_uuid", value: func(v *compute.Action) any { return v.ServerID }},
		{name: "project_id", value: func(v *compute.Action) any { return orNull(v.ProjectID) }},
		{name: "user_id", value: func(v *compute.Action) any { return orNull(v.UserID) }},
		{name: "request_id", value: func(v *compute.Action) any { return v.RequestID }},
		{name: "start_time", value: func(v *compute.Action) any { return rest.NaiveMicros(v.StartedAt) }},
		{name: "message", value: func(v *compute.Action) any { return orNull(v.Message) }},
		{name: "updated_at", since: 58, value: func(v *compute.Action) any { return rest.NaiveMicros(v.UpdatedAt) }},
	}
}

// eventView is a step of an action as the caller may see it.
type eventView struct {
	*compute.ActionEvent
	projectID string
	all       bool // he may see what is for administrators
}

func eventFields() []field[eventView] {
	admin := func(f func(v eventView) any) func(v eventView) any {
		return func(v eventView) any {
			if !v.all {
				return absent{}
			}
			return f(v)
		}
	}
	return []field[eventView]{
		{name: "event", value: func(v eventView) any { return v.Name }},
		{name: "start_time", value: func(v eventView) any { return rest.NaiveMicros(v.StartedAt) }},
		{name: "finish_time", value: func(v eventView) any { return orNull(rest.NaiveMicros(v.FinishedAt)) }},
		{name: "result", value: func(v eventView) any { return orNull(v.Result) }},
		{name: "traceback", value: admin(func(v eventView) any { return orNull(v.Details) })},
		{name: "hostId", since: 62, value: func(v eventView) any { return hostID(v.projectID, v.Host) }},
		{name: "host", since: 62, value: admin(func(v eventView) any { return v.Host })},
		{name: "details", since: 84, value: admin(func(v eventView) any { return orNull(v.Details) })},
	}
}

// reachable refuses the actions of a deleted server before 2.21, which did not have them.
func (a *api) reachable(ctx context.Context, r *rest.Request) error {
	if r.AtLeast(21) {
		return nil
	}
	_, err := a.as(r).GetServer(ctx, r.Value("id"))
	return err
}

func (a *api) listActions(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	if err := a.reachable(ctx, r); err != nil {
		return nil, err
	}
	all, err := a.as(r).ListActions(ctx, r.Value("id"))
	if err != nil {
		return nil, err
	}
	since, before, err := period(r)
	if err != nil {
		return nil, err
	}
	var some []*compute.Action
	for _, v := range all {
		if (since.IsZero() || !v.UpdatedAt.Before(since)) && (before.IsZero() || !v.UpdatedAt.After(before)) {
			some = append(some, v)
		}
	}
	page, err := r.Page(1000)
	if err != nil {
		return nil, err
	}
	part, more, err := rest.Cut(some, page, func(v *compute.Action) string { return v.RequestID })
	if err != nil {
		return nil, err
	}
	list := []object{}
	for _, v := range part {
		list = append(list, show(object{}, actionFields(), v, minor(r)))
	}
	doc := object{"instanceActions": list}
	if more && len(part) > 0 && r.AtLeast(58) {
		addNext(doc, "links", r, true, part[len(part)-1].RequestID, page.Limit)
	}
	return rest.OK(doc), nil
}

func (a *api) getAction(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	if err := a.reachable(ctx, r); err != nil {
		return nil, err
	}
	svc := a.as(r)
	v, err := svc.GetAction(ctx, r.Value("id"), r.Value("request"))
	if err != nil {
		return nil, err
	}
	doc := show(object{}, actionFields(), v, minor(r))
	all := svc.May("compute:server:get_host", v.ProjectID)
	if all || r.AtLeast(51) {
		events := []object{}
		for i := range v.Events {
			events = append(events, show(object{}, eventFields(), eventView{&v.Events[i], v.ProjectID, all}, minor(r)))
		}
		doc["events"] = events
	}
	return rest.OK(object{"instanceAction": doc}), nil
}
