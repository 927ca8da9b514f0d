// Package glance shows the image service as Glance's API v2. There is one
// place for data, and no import: uploads go through images/{id}/file.
package glance

import (
	"context"

	"github.com/nubecula/cloud/image"
	"github.com/nubecula/cloud/openstack/internal/rest"
	"github.com/nubecula/cloud/store"
)

type object = map[string]any

type api struct {
	images *image.Service
	store  *store.Store
}

// New returns the API over a service; s is the store that the service uses.
func New(images *image.Service, s *store.Store) rest.API {
	a := &api{images, s}
	return rest.API{Service: rest.Image, Routes: []rest.Route{
		{Method: "POST", Path: "/images", Handle: a.create},
		{Method: "GET", Path: "/images", Handle: a.list},
		{Method: "GET", Path: "/images/{id}", Handle: a.get},
		{Method: "PATCH", Path: "/images/{id}", Handle: a.patch},
		{Method: "DELETE", Path: "/images/{id}", Handle: a.delete},
		{Method: "PUT", Path: "/images/{id}/file", Handle: a.upload, Stream: true},
		{Method: "GET", Path: "/images/{id}/file", Handle: a.download, Stream: true},
		{Method: "POST", Path: "/images/{id}/actions/deactivate", Handle: a.deactivate},
		{Method: "POST", Path: "/images/{id}/actions/reactivate", Handle: a.reactivate},
		{Method: "PUT", Path: "/images/{id}/tags/{tag}", Handle: a.addTag},
		{Method: "DELETE", Path: "/images/{id}/tags/{tag}", Handle: a.removeTag},
		{Method: "GET", Path: "/images/{id}/members", Handle: a.listMembers},
		{Method: "POST", Path: "/images/{id}/members", Handle: a.addMember},
		{Method: "GET", Path: "/images/{id}/members/{member}", Handle: a.getMember},
		{Method: "PUT", Path: "/images/{id}/members/{member}", Handle: a.setMember},
		{Method: "DELETE", Path: "/images/{id}/members/{member}", Handle: a.removeMember},
		{Method: "GET", Path: "/schemas/{name}", Handle: schema},
		{Method: "GET", Path: "/info/import", Handle: importInfo},
	}}
}

// as returns the service on behalf of who asks.
func (a *api) as(r *rest.Request) *image.Service { return a.images.As(r.Principal) }

// view is an image as Glance shows it: properties stand beside attributes.
func view(i *image.Image) object {
	tags := i.Tags
	if tags == nil {
		tags = []string{}
	}
	v := object{
		"id": i.ID, "name": orNull(i.Name), "owner": orNull(i.Owner), "status": i.Status, "visibility": i.Visibility,
		"protected": i.Protected, "os_hidden": i.Hidden, "disk_format": orNull(i.DiskFormat), "container_format": orNull(i.ContainerFormat),
		"min_disk": i.MinDiskGiB, "min_ram": i.MinRAMMiB, "tags": tags,
		"size": nil, "virtual_size": nil, "checksum": nil, "os_hash_algo": nil, "os_hash_value": nil,
		"created_at": rest.Seconds(i.CreatedAt), "updated_at": rest.Seconds(i.UpdatedAt),
		"self": "/v2/images/" + i.ID, "file": "/v2/images/" + i.ID + "/file", "schema": "/v2/schemas/image",
	}
	if i.HasData() {
		v["size"], v["checksum"], v["os_hash_algo"], v["os_hash_value"] = i.SizeBytes, i.MD5, "sha512", i.SHA512
		if i.VirtualBytes > 0 {
			v["virtual_size"] = i.VirtualBytes
		}
	}
	for name, value := range i.Properties {
		v[name] = value
	}
	return v
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (a *api) create(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	req, err := decodeCreate(r.Body)
	if err != nil {
		return nil, err
	}
	i, err := a.as(r).Create(ctx, *req)
	if err != nil {
		return nil, err
	}
	return rest.Created(view(i)).With("Location", r.URL("/images/"+i.ID)), nil
}

func (a *api) get(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	i, err := a.as(r).Get(ctx, r.Value("id"))
	if err != nil {
		return nil, err
	}
	return rest.OK(view(i)), nil
}

func (a *api) delete(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return rest.NoContent(), a.as(r).Delete(ctx, r.Value("id"))
}

func (a *api) deactivate(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return rest.NoContent(), a.as(r).Deactivate(ctx, r.Value("id"))
}

func (a *api) reactivate(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return rest.NoContent(), a.as(r).Reactivate(ctx, r.Value("id"))
}

func (a *api) addTag(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return rest.NoContent(), a.as(r).AddTag(ctx, r.Value("id"), r.Value("tag"))
}

func (a *api) removeTag(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return rest.NoContent(), a.as(r).RemoveTag(ctx, r.Value("id"), r.Value("tag"))
}

// patch reads and changes the image in one transaction, since the operations of a patch build on what is there.
func (a *api) patch(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	ops, err := decodePatch(r.HTTP.Header.Get("Content-Type"), r.Body)
	if err != nil {
		return nil, err
	}
	var i *image.Image
	err = a.store.Update(ctx, func(tx *store.Tx) error {
		was, err := a.as(r).Get(tx.Context(), r.Value("id"))
		if err != nil {
			return err
		}
		req, err := applyPatch(was, ops)
		if err != nil {
			return err
		}
		i, err = a.as(r).Update(tx.Context(), was.ID, *req)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(view(i)), nil
}

func importInfo(context.Context, *rest.Request) (*rest.Response, error) {
	return rest.OK(object{"import-methods": object{"description": "Import methods available.", "type": "array", "value": []string{}}}), nil
}

func viewMember(m *image.Member) object {
	return object{"image_id": m.ImageID, "member_id": m.ProjectID, "status": m.Status, "schema": "/v2/schemas/member",
		"created_at": rest.Seconds(m.CreatedAt), "updated_at": rest.Seconds(m.UpdatedAt)}
}

func (a *api) listMembers(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	list, err := a.as(r).ListMembers(ctx, r.Value("id"))
	if err != nil {
		return nil, err
	}
	out := []object{}
	for _, m := range list {
		out = append(out, viewMember(m))
	}
	return rest.OK(object{"members": out, "schema": "/v2/schemas/members"}), nil
}

func (a *api) addMember(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	var in struct {
		Member string `json:"member"`
	}
	if err := r.Decode(&in, rest.Strict); err != nil {
		return nil, err
	}
	return answerMember(a.as(r).AddMember(ctx, r.Value("id"), in.Member))
}

func (a *api) getMember(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return answerMember(a.as(r).GetMember(ctx, r.Value("id"), r.Value("member")))
}

func (a *api) setMember(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	var in struct {
		Status image.MemberStatus `json:"status"`
	}
	if err := r.Decode(&in, rest.Loose); err != nil { // openstacksdk repeats the member here
		return nil, err
	}
	return answerMember(a.as(r).SetMemberStatus(ctx, r.Value("id"), r.Value("member"), in.Status))
}

func (a *api) removeMember(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return rest.NoContent(), a.as(r).RemoveMember(ctx, r.Value("id"), r.Value("member"))
}

func answerMember(m *image.Member, err error) (*rest.Response, error) {
	if err != nil {
		return nil, err
	}
	return rest.OK(viewMember(m)), nil
}
