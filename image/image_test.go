package image_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/image"
)

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	long := strings.Repeat("x", 256)
	many := map[string]string{}
	for n := range 129 {
		many[fmt.Sprint("p", n)] = "v"
	}
	for name, c := range map[string]struct {
		req  image.CreateRequest
		code fault.Code
	}{
		"id":           {image.CreateRequest{ID: "one"}, fault.Invalid},
		"name":         {image.CreateRequest{Name: long}, fault.Invalid},
		"nul":          {image.CreateRequest{Name: "a\x00b"}, fault.Invalid},
		"visibility":   {image.CreateRequest{Visibility: "secret"}, fault.Invalid},
		"public":       {image.CreateRequest{Visibility: image.Public}, fault.Denied},
		"disk":         {image.CreateRequest{DiskFormat: "floppy"}, fault.Invalid},
		"container":    {image.CreateRequest{ContainerFormat: "box"}, fault.Invalid},
		"aws":          {image.CreateRequest{DiskFormat: "aki", ContainerFormat: "bare"}, fault.Invalid},
		"min disk":     {image.CreateRequest{MinDiskGiB: -1}, fault.Invalid},
		"min ram":      {image.CreateRequest{MinRAMMiB: 1 << 31}, fault.Invalid},
		"tag":          {image.CreateRequest{Tags: []string{long}}, fault.Invalid},
		"property":     {image.CreateRequest{Properties: map[string]string{long: "x"}}, fault.Invalid},
		"reserved":     {image.CreateRequest{Properties: map[string]string{"checksum": "x"}}, fault.Denied},
		"glance's own": {image.CreateRequest{Properties: map[string]string{"os_glance_x": "x"}}, fault.Denied},
		"properties":   {image.CreateRequest{Properties: many}, fault.TooLarge},
		"owner":        {image.CreateRequest{Owner: "q"}, fault.Denied},
	} {
		_, err := r.as("p").Create(r.ctx, c.req)
		require.True(t, fault.Is(err, c.code), "%s: %v", name, err)
	}
	reader := &identity.Principal{UserID: "x", ProjectID: "p", Roles: []string{identity.RoleReader}}
	_, err := r.svc.As(reader).Create(r.ctx, image.CreateRequest{})
	require.True(t, fault.Is(err, fault.Denied), err)
	_, err = r.svc.Create(r.ctx, image.CreateRequest{})
	require.True(t, fault.Is(err, fault.Unauthenticated), err)

	i := r.create(func(c *image.CreateRequest) { c.ID = "11111111-1111-4111-8111-111111111111" })
	_, err = r.as("q").Create(r.ctx, image.CreateRequest{ID: i.ID})
	require.True(t, fault.Is(err, fault.Exists), err)
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	i := r.create(func(c *image.CreateRequest) {
		c.Properties = map[string]string{"os": "linux", "old": "x"}
		c.Tags = []string{"b", "a", "b"}
	})
	require.Equal(t, []string{"a", "b"}, i.Tags)
	name, community, yes, two := "new", image.Community, true, int64(2)
	bsd := "bsd"
	got, err := r.as("p").Update(r.ctx, i.ID, image.UpdateRequest{
		Name: &name, Visibility: &community, Protected: &yes, MinDiskGiB: &two,
		Tags: &[]string{"z"}, Properties: map[string]*string{"os": &bsd, "old": nil},
	})
	require.NoError(t, err)
	require.Equal(t, "new", got.Name)
	require.Equal(t, []string{"z"}, got.Tags)
	require.Equal(t, map[string]string{"os": "bsd"}, got.Properties)
	require.True(t, got.Protected)
	require.EqualValues(t, 2, got.MinDiskGiB)

	err = r.as("p").Delete(r.ctx, i.ID)
	require.True(t, fault.Is(err, fault.Denied), err)
	public := image.Public
	_, err = r.as("p").Update(r.ctx, i.ID, image.UpdateRequest{Visibility: &public})
	require.True(t, fault.Is(err, fault.Denied), err)
	q := "q"
	_, err = r.as("p").Update(r.ctx, i.ID, image.UpdateRequest{Owner: &q})
	require.True(t, fault.Is(err, fault.Denied), err)
	_, err = r.as("q").Update(r.ctx, i.ID, image.UpdateRequest{Name: &name}) // he sees the community image
	require.True(t, fault.Is(err, fault.Denied), err)

	require.NoError(t, r.upload(i.ID, []byte("abc")))
	iso := "iso"
	_, err = r.as("p").Update(r.ctx, i.ID, image.UpdateRequest{DiskFormat: &iso})
	require.True(t, fault.Is(err, fault.Denied), err)

	require.NoError(t, r.as("p").AddTag(r.ctx, i.ID, "a"))
	require.NoError(t, r.as("p").AddTag(r.ctx, i.ID, "a"))
	require.Equal(t, []string{"a", "z"}, r.get(i.ID).Tags)
	require.NoError(t, r.as("p").RemoveTag(r.ctx, i.ID, "z"))
	require.True(t, fault.Is(r.as("p").RemoveTag(r.ctx, i.ID, "z"), fault.NotFound))
	require.True(t, fault.Is(r.as("p").AddTag(r.ctx, i.ID, ""), fault.Invalid))
}

func TestDeactivate(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	i := r.create(nil)
	require.True(t, fault.Is(r.svc.As(admin()).Deactivate(r.ctx, i.ID), fault.Denied))
	require.NoError(t, r.upload(i.ID, []byte("abc")))
	require.True(t, fault.Is(r.as("q").Deactivate(r.ctx, i.ID), fault.NotFound))
	require.NoError(t, r.as("p").Deactivate(r.ctx, i.ID))
	require.NoError(t, r.svc.As(admin()).Deactivate(r.ctx, i.ID))
	require.Equal(t, image.Deactivated, r.get(i.ID).Status)
	_, _, err := r.as("p").Download(r.ctx, i.ID, 0)
	require.True(t, fault.Is(err, fault.Denied), err)
	_, body, err := r.svc.As(admin()).Download(r.ctx, i.ID, 0)
	require.NoError(t, err)
	require.NoError(t, body.Close())
	r.settle()
	require.NoError(t, r.svc.As(admin()).Reactivate(r.ctx, i.ID))
	require.Equal(t, image.Active, r.get(i.ID).Status)
}

func names(list []*image.Image) string {
	var out []string
	for _, i := range list {
		out = append(out, i.Name)
	}
	return strings.Join(out, " ")
}

func TestListAndVisibility(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, v := range []image.Visibility{image.Private, image.Shared, image.Community, image.Public} {
		_, err := r.svc.As(admin()).Create(r.ctx, image.CreateRequest{Name: string(v), Owner: "p", Visibility: v, MinDiskGiB: int64(len(v)),
			Tags: []string{"t", string(v)}, Properties: map[string]string{"k": string(v)}})
		require.NoError(t, err)
	}
	_, err := r.as("p").Create(r.ctx, image.CreateRequest{Name: "hidden", Hidden: true})
	require.NoError(t, err)
	list := func(s *image.Service, q image.Query) string {
		out, more, err := s.List(r.ctx, q)
		require.NoError(t, err)
		require.False(t, more)
		return names(out)
	}
	require.Equal(t, "public community shared private", list(r.as("p"), image.Query{}))
	require.Equal(t, "public", list(r.as("q"), image.Query{}))
	require.Equal(t, "public community", list(r.as("q"), image.Query{Visibility: "all"}))
	require.Equal(t, "community", list(r.as("q"), image.Query{Visibility: image.Community}))
	require.Equal(t, "public community shared private", list(r.svc.As(admin()), image.Query{}))
	require.Equal(t, "hidden", list(r.as("p"), image.Query{Hidden: true}))
	require.Equal(t, "public private", list(r.as("p"), image.Query{Names: []string{"public", "private", "x"}}))
	require.Equal(t, "shared", list(r.as("p"), image.Query{Tags: []string{"t", "shared"}}))
	require.Equal(t, "shared", list(r.as("p"), image.Query{Properties: map[string]string{"k": "shared"}}))
	require.Equal(t, "", list(r.as("p"), image.Query{Statuses: []string{"active"}}))
	require.Equal(t, "", list(r.as("p"), image.Query{Owner: "q"}))
	require.Equal(t, "", list(r.as("p"), image.Query{Created: []image.TimeBound{{Op: "gt", At: time.Now().Add(time.Hour)}}}))
	require.Equal(t, "community private public shared", list(r.as("p"), image.Query{Sort: []image.SortKey{{Key: "name"}}}))
	require.Equal(t, "community private public shared", list(r.as("p"), image.Query{Sort: []image.SortKey{{Key: "min_disk", Desc: true}, {Key: "name"}}}))

	// pages, in both kinds of order, give everything once
	for _, sort := range [][]image.SortKey{nil, {{Key: "owner"}}, {{Key: "name", Desc: true}}} {
		whole, _, err := r.as("p").List(r.ctx, image.Query{Sort: sort})
		require.NoError(t, err)
		var pages []*image.Image
		for q := (image.Query{Sort: sort, Limit: 1}); ; q.Marker = pages[len(pages)-1].ID {
			page, more, err := r.as("p").List(r.ctx, q)
			require.NoError(t, err)
			pages = append(pages, page...)
			if !more {
				break
			}
		}
		require.Equal(t, names(whole), names(pages))
	}
	private, _, err := r.as("p").List(r.ctx, image.Query{Names: []string{"private"}})
	require.NoError(t, err)
	_, _, err = r.as("q").List(r.ctx, image.Query{Marker: private[0].ID})
	require.True(t, fault.Is(err, fault.Invalid), err)
	_, err = r.as("q").Get(r.ctx, private[0].ID)
	require.True(t, fault.Is(err, fault.NotFound), err)
	require.True(t, fault.Is(r.as("q").Delete(r.ctx, private[0].ID), fault.NotFound))
	_, _, err = r.as("p").List(r.ctx, image.Query{Sort: []image.SortKey{{Key: "password"}}})
	require.True(t, fault.Is(err, fault.Invalid), err)
}

func TestMembers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	i := r.create(nil)
	require.NoError(t, r.upload(i.ID, []byte("abc")))
	_, err := r.as("q").Get(r.ctx, i.ID)
	require.True(t, fault.Is(err, fault.NotFound))
	m, err := r.as("p").AddMember(r.ctx, i.ID, "q")
	require.NoError(t, err)
	require.Equal(t, image.Pending, m.Status)
	_, err = r.as("p").AddMember(r.ctx, i.ID, "q")
	require.True(t, fault.Is(err, fault.Exists), err)
	_, err = r.as("p").AddMember(r.ctx, i.ID, "s")
	require.NoError(t, err)

	// a member may see and read it, see itself, and nothing else
	_, body, err := r.as("q").Download(r.ctx, i.ID, 0)
	require.NoError(t, err)
	require.NoError(t, body.Close())
	_, err = r.as("q").AddMember(r.ctx, i.ID, "z")
	require.True(t, fault.Is(err, fault.Denied), err)
	list, err := r.as("q").ListMembers(r.ctx, i.ID)
	require.NoError(t, err)
	require.Len(t, list, 1)
	_, err = r.as("q").GetMember(r.ctx, i.ID, "s")
	require.True(t, fault.Is(err, fault.NotFound), err)
	_, err = r.as("z").ListMembers(r.ctx, i.ID)
	require.True(t, fault.Is(err, fault.NotFound), err)
	list, err = r.as("p").ListMembers(r.ctx, i.ID)
	require.NoError(t, err)
	require.Len(t, list, 2)

	// it is in the member's list once accepted, which only the member can do
	seen := func(q image.Query) string {
		out, _, err := r.as("q").List(r.ctx, q)
		require.NoError(t, err)
		return names(out)
	}
	require.Empty(t, seen(image.Query{}))
	require.Equal(t, "img", seen(image.Query{MemberStatus: image.Pending}))
	_, err = r.as("p").SetMemberStatus(r.ctx, i.ID, "q", image.Accepted)
	require.True(t, fault.Is(err, fault.Denied), err)
	_, err = r.as("q").SetMemberStatus(r.ctx, i.ID, "q", "maybe")
	require.True(t, fault.Is(err, fault.Invalid), err)
	_, err = r.as("q").SetMemberStatus(r.ctx, i.ID, "q", image.Accepted)
	require.NoError(t, err)
	require.Equal(t, "img", seen(image.Query{}))
	require.Equal(t, "img", seen(image.Query{Visibility: image.Shared}))

	private := image.Private
	_, err = r.as("p").Update(r.ctx, i.ID, image.UpdateRequest{Visibility: &private})
	require.NoError(t, err)
	require.Empty(t, seen(image.Query{}))
	_, err = r.as("p").AddMember(r.ctx, i.ID, "z")
	require.True(t, fault.Is(err, fault.Denied), err)
	shared := image.Shared
	_, err = r.as("p").Update(r.ctx, i.ID, image.UpdateRequest{Visibility: &shared})
	require.NoError(t, err)
	require.NoError(t, r.as("p").RemoveMember(r.ctx, i.ID, "q"))
	_, err = r.as("q").Get(r.ctx, i.ID)
	require.True(t, fault.Is(err, fault.NotFound))
	require.NoError(t, r.as("p").Delete(r.ctx, i.ID))
	r.settle()
}
