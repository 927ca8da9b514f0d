package nova

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// serverPartRoutes are metadata, tags, addresses, and what is below a server and always the same here.
func (a *api) serverPartRoutes() []rest.Route {
	return []rest.Route{
		post("/servers/{id}/action", a.serverAction),
		get("/servers/{id}/metadata", a.listMetadata),
		post("/servers/{id}/metadata", a.updateMetadata),
		put("/servers/{id}/metadata", a.replaceMetadata),
		get("/servers/{id}/metadata/{key}", a.getMetadata),
		put("/servers/{id}/metadata/{key}", a.updateMetadataItem),
		del("/servers/{id}/metadata/{key}", a.deleteMetadata),
		since(26, get("/servers/{id}/tags", a.listTags)),
		since(26, put("/servers/{id}/tags", a.replaceTags)),
		since(26, del("/servers/{id}/tags", a.deleteTags)),
		since(26, get("/servers/{id}/tags/{tag}", a.getTag)),
		since(26, put("/servers/{id}/tags/{tag}", a.addTag)),
		since(26, del("/servers/{id}/tags/{tag}", a.deleteTag)),
		get("/servers/{id}/ips", a.listAddresses),
		get("/servers/{id}/ips/{network}", a.getAddresses),
		get("/servers/{id}/os-security-groups", a.listSecurityGroups),
		until(35, get("/os-security-groups", a.listProjectGroups)),
		until(35, get("/os-security-groups/{id}", a.getGroup)),
		get("/servers/{id}/os-server-password", a.constant(object{"password": ""})),
		del("/servers/{id}/os-server-password", a.noPassword),
		get("/servers/{id}/os-volume_attachments", a.constant(object{"volumeAttachments": []object{}})),
		post("/servers/{id}/os-volume_attachments", a.noVolumes),
		get("/servers/{id}/os-volume_attachments/{volume}", a.noVolume),
		put("/servers/{id}/os-volume_attachments/{volume}", a.noVolume),
		del("/servers/{id}/os-volume_attachments/{volume}", a.noVolume),
		since(23, get("/servers/{id}/migrations", a.constant(object{"migrations": []object{}}))),
		since(78, get("/servers/{id}/topology", a.constant(object{"nodes": []object{}, "pagesize_kb": nil}))),
		get("/servers/{id}/diagnostics", a.noDiagnostics),
		since(6, post("/servers/{id}/remote-consoles", a.noConsole)),
	}
}

type metadataBody struct {
	Metadata map[string]string `json:"metadata"`
	Meta     map[string]string `json:"meta"`
}

func (a *api) listMetadata(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	items, err := a.as(r).GetMetadata(ctx, r.Value("id"))
	if err != nil {
		return nil, err
	}
	return rest.OK(object{"metadata": orEmpty(items)}), nil
}

func (a *api) updateMetadata(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	body, err := read[metadataBody](r, under("metadata", metadata))
	if err != nil {
		return nil, err
	}
	items, err := a.as(r).UpdateMetadata(ctx, r.Value("id"), body.Metadata)
	if err != nil {
		return nil, err
	}
	return rest.OK(object{"metadata": orEmpty(items)}), nil
}

func (a *api) replaceMetadata(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	body, err := read[metadataBody](r, under("metadata", metadata))
	if err != nil {
		return nil, err
	}
	items, err := a.as(r).ReplaceMetadata(ctx, r.Value("id"), body.Metadata)
	if err != nil {
		return nil, err
	}
	return rest.OK(object{"metadata": orEmpty(items)}), nil
}

func (a *api) getMetadata(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	items, err := a.as(r).GetMetadata(ctx, r.Value("id"))
	if err != nil {
		return nil, err
	}
	value, ok := items[r.Value("key")]
	if !ok {
		return nil, fault.Missing("metadata item", r.Value("key"))
	}
	return rest.OK(object{"meta": object{r.Value("key"): value}}), nil
}

func (a *api) updateMetadataItem(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	body, err := read[metadataBody](r, under("meta", oneItem))
	if err != nil {
		return nil, err
	}
	key := r.Value("key")
	value, ok := body.Meta[key]
	if !ok {
		return nil, fault.InvalidField("meta", body.Meta, "its key must be that of the URI, "+key)
	}
	if _, err := a.as(r).UpdateMetadata(ctx, r.Value("id"), body.Meta); err != nil {
		return nil, err
	}
	return rest.OK(object{"meta": object{key: value}}), nil
}

func (a *api) deleteMetadata(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return rest.NoContent(), a.as(r).DeleteMetadata(ctx, r.Value("id"), r.Value("key"))
}

func (a *api) listTags(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	s, err := a.as(r).GetServer(ctx, r.Value("id"))
	if err != nil {
		return nil, err
	}
	return rest.OK(object{"tags": append([]string{}, s.Tags...)}), nil
}

func (a *api) replaceTags(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	body, err := read[struct {
		Tags []string `json:"tags"`
	}](r, under("tags", tags))
	if err != nil {
		return nil, err
	}
	now, err := a.as(r).ReplaceTags(ctx, r.Value("id"), body.Tags)
	if err != nil {
		return nil, err
	}
	return rest.OK(object{"tags": append([]string{}, now...)}), nil
}

func (a *api) deleteTags(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return rest.NoContent(), a.as(r).DeleteTags(ctx, r.Value("id"))
}

func (a *api) getTag(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	s, err := a.as(r).GetServer(ctx, r.Value("id"))
	if err != nil {
		return nil, err
	}
	if !slices.Contains(s.Tags, r.Value("tag")) {
		return nil, fault.Missing("tag", r.Value("tag"))
	}
	return rest.NoContent(), nil
}

func (a *api) addTag(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	t := r.Value("tag")
	if err := tag("tag", t, minor(r)); err != nil {
		return nil, err
	}
	if len(r.Body) > 0 && string(r.Body) != "null" {
		return nil, fault.New(fault.Invalid, "this call takes no body: the tag is in the path")
	}
	added, err := a.as(r).AddTag(ctx, r.Value("id"), t)
	if err != nil {
		return nil, err
	}
	resp := rest.NoContent()
	if added {
		resp = &rest.Response{Status: http.StatusCreated}
	}
	return resp.With("Location", r.URL("/servers/"+r.Value("id")+"/tags/"+url.PathEscape(t))), nil
}

func (a *api) deleteTag(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return rest.NoContent(), a.as(r).DeleteTag(ctx, r.Value("id"), r.Value("tag"))
}

func (a *api) listAddresses(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	s, err := a.as(r).GetServer(ctx, r.Value("id"))
	if err != nil {
		return nil, err
	}
	return rest.OK(object{"addresses": (&serverView{Server: s}).addresses(false)}), nil
}

func (a *api) getAddresses(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	s, err := a.as(r).GetServer(ctx, r.Value("id"))
	if err != nil {
		return nil, err
	}
	list, ok := (&serverView{Server: s}).addresses(false)[r.Value("network")]
	if !ok {
		return nil, fault.Missing("network", r.Value("network"))
	}
	return rest.OK(object{r.Value("network"): list}), nil
}

// constant answers the same for every server that the caller may see.
func (a *api) constant(body object) rest.Handler {
	return func(ctx context.Context, r *rest.Request) (*rest.Response, error) {
		if _, err := a.as(r).GetServer(ctx, r.Value("id")); err != nil {
			return nil, err
		}
		return rest.OK(body), nil
	}
}

// refuse answers err for a server that the caller may see.
func (a *api) refuse(ctx context.Context, r *rest.Request, err error) (*rest.Response, error) {
	if _, missing := a.as(r).GetServer(ctx, r.Value("id")); missing != nil {
		return nil, missing
	}
	return nil, err
}

func (a *api) noPassword(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	if _, err := a.as(r).GetServer(ctx, r.Value("id")); err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}

func (a *api) noVolumes(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return a.refuse(ctx, r, fault.New(fault.Unsupported, "there is no volume service here yet: servers have local disks only"))
}

func (a *api) noVolume(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return a.refuse(ctx, r, fault.Missing("volume attachment", r.Value("volume")))
}

func (a *api) noDiagnostics(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return a.refuse(ctx, r, fault.New(fault.Unsupported, "the requested functionality is not supported: no hypervisor here reports diagnostics yet"))
}

func (a *api) noConsole(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return a.refuse(ctx, r, fault.New(fault.Invalid, "unavailable console type: the guests here have no consoles but the serial log, os-getConsoleOutput"))
}
