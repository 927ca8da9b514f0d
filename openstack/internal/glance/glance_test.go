package glance_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/imagedata"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/imageimport"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/members"
	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/image"
	"github.com/nubecula/cloud/image/fakeimage"
	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/openstack/internal/glance"
	"github.com/nubecula/cloud/openstack/internal/rest"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
)

// lab is the API over a real service; a token names a project, that of an administrator is "admin".
type lab struct {
	t   *testing.T
	ctx context.Context
	url string
}

func newLab(t *testing.T) *lab {
	s, err := store.New(memory.New(nil), store.Options{Key: store.NewKey(), Rerun: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	e, err := engine.New(engine.Options{Store: s})
	require.NoError(t, err)
	drv, err := fakeimage.New(fakeimage.Options{})
	require.NoError(t, err)
	svc, err := image.New(image.Options{Store: s, Engine: e, Data: drv, MaxBytes: 1 << 20})
	require.NoError(t, err)
	require.NoError(t, e.Start(context.Background()))
	t.Cleanup(func() { e.Kill() })
	f, err := rest.New(rest.Config{APIs: []rest.API{glance.New(svc, s)}, Store: s,
		Authenticate: func(_ context.Context, token string) (*identity.Principal, error) {
			if token == "wrong" {
				return nil, fault.New(fault.Unauthenticated, "no")
			}
			return &identity.Principal{UserID: "user", ProjectID: token, Roles: append([]string{identity.RoleMember, identity.RoleReader}, token)}, nil
		}})
	require.NoError(t, err)
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	return &lab{t, t.Context(), srv.URL + "/image/v2/"}
}

func (l *lab) client(project string) *gophercloud.ServiceClient {
	p := &gophercloud.ProviderClient{TokenID: project}
	return &gophercloud.ServiceClient{ProviderClient: p, Endpoint: strings.TrimSuffix(l.url, "v2/"), ResourceBase: l.url, Type: "image"}
}

// do sends a request as project p; headers are pairs.
func (l *lab) do(method, path string, body io.Reader, headers ...string) (*http.Response, string) {
	l.t.Helper()
	req, err := http.NewRequest(method, l.url+path, body)
	require.NoError(l.t, err)
	req.Header.Set("X-Auth-Token", "p")
	for n := 0; n < len(headers); n += 2 {
		req.Header.Set(headers[n], headers[n+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(l.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(l.t, err)
	return resp, string(text)
}

// refused requires that err is an answer with a status.
func refused(t *testing.T, status int, err error) {
	t.Helper()
	require.True(t, gophercloud.ResponseCodeIs(err, status), "%d: %v", status, err)
}

func (l *lab) create(name string, c *gophercloud.ServiceClient) *images.Image {
	l.t.Helper()
	i, err := images.Create(l.ctx, c, images.CreateOpts{Name: name, DiskFormat: "raw", ContainerFormat: "bare"}).Extract()
	require.NoError(l.t, err)
	return i
}

func TestLifeOfAnImage(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.client("p")
	yes := true
	i, err := images.Create(l.ctx, c, images.CreateOpts{Name: "cirros", DiskFormat: "raw", ContainerFormat: "bare", MinDisk: 1, MinRAM: 64,
		Protected: &yes, Tags: []string{"small"}, Properties: map[string]string{"hw_rng_model": "virtio"}}).Extract()
	require.NoError(t, err)
	require.Equal(t, images.ImageStatusQueued, i.Status)
	require.Equal(t, "p", i.Owner)
	require.Equal(t, images.ImageVisibilityShared, i.Visibility)
	require.Equal(t, "virtio", i.Properties["hw_rng_model"])
	require.Equal(t, []string{"small"}, i.Tags)
	require.WithinDuration(t, time.Now(), i.CreatedAt, time.Minute)
	require.Equal(t, "/v2/images/"+i.ID+"/file", i.File)

	data := bytes.Repeat([]byte("0123456789"), 1000)
	require.NoError(t, imagedata.Upload(l.ctx, c, i.ID, bytes.NewReader(data)).ExtractErr())
	refused(t, 409, imagedata.Upload(l.ctx, c, i.ID, bytes.NewReader(data)).ExtractErr())
	i, err = images.Get(l.ctx, c, i.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, images.ImageStatusActive, i.Status)
	require.EqualValues(t, 10000, i.SizeBytes)
	require.EqualValues(t, 10000, i.VirtualSize)
	require.Len(t, i.Checksum, 32)
	require.Equal(t, "sha512", i.Properties["os_hash_algo"])
	require.Len(t, i.Properties["os_hash_value"], 128)

	body, err := imagedata.Download(l.ctx, c, i.ID).Extract()
	require.NoError(t, err)
	got, err := io.ReadAll(body)
	require.NoError(t, err)
	require.Equal(t, data, got)

	refused(t, 403, images.Delete(l.ctx, c, i.ID).ExtractErr())
	i, err = images.Update(l.ctx, c, i.ID, images.UpdateOpts{
		images.ReplaceImageProtected{NewProtected: false}, images.ReplaceImageName{NewName: "cirros2"},
		images.UpdateImageProperty{Op: images.AddOp, Name: "a~1b~0c", Value: "slash"},
		images.UpdateImageProperty{Op: images.RemoveOp, Name: "hw_rng_model"},
		images.ReplaceImageTags{NewTags: []string{"x", "y"}}, images.ReplaceImageMinDisk{NewMinDisk: 3}, images.ReplaceImageMinRam{NewMinRam: 65},
		images.ReplaceImageHidden{NewHidden: true}, images.UpdateVisibility{Visibility: images.ImageVisibilityPrivate},
	}).Extract()
	require.NoError(t, err)
	require.Equal(t, "cirros2", i.Name)
	require.NotContains(t, i.Properties, "hw_rng_model")
	require.Equal(t, "slash", i.Properties["a/b~c"])
	require.Equal(t, []string{"x", "y"}, i.Tags)
	require.Equal(t, 3, i.MinDiskGigabytes)
	require.Equal(t, 65, i.MinRAMMegabytes)
	require.True(t, i.Hidden)
	require.Equal(t, images.ImageVisibilityPrivate, i.Visibility)
	_, err = images.Update(l.ctx, c, i.ID, images.UpdateOpts{images.ReplaceImageChecksum{Checksum: "x"}}).Extract()
	refused(t, 403, err)
	_, err = images.Update(l.ctx, c, i.ID, images.UpdateOpts{images.UpdateVisibility{Visibility: images.ImageVisibilityPublic}}).Extract()
	refused(t, 403, err)

	require.NoError(t, images.Delete(l.ctx, c, i.ID).ExtractErr())
	_, err = images.Get(l.ctx, c, i.ID).Extract()
	refused(t, 404, err)
	refused(t, 404, images.Delete(l.ctx, c, i.ID).ExtractErr())
}

func TestList(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.client("p")
	var ids []string
	for _, name := range []string{"a", "b", "c,d", "e"} {
		ids = append(ids, l.create(name, c).ID)
	}
	_, err := images.Create(l.ctx, c, images.CreateOpts{Name: "tagged", Tags: []string{"t", "u"}, Properties: map[string]string{"os_distro": "debian"}}).Extract()
	require.NoError(t, err)
	require.NoError(t, imagedata.Upload(l.ctx, c, ids[0], strings.NewReader("12345")).ExtractErr())
	l.create("other", l.client("q"))
	list := func(opts images.ListOpts) string {
		t.Helper()
		pages, err := images.List(c, opts).AllPages(l.ctx)
		require.NoError(t, err)
		all, err := images.ExtractImages(pages)
		require.NoError(t, err)
		var names []string
		for _, i := range all {
			names = append(names, i.Name)
		}
		return strings.Join(names, " ")
	}
	require.Equal(t, "tagged e c,d b a", list(images.ListOpts{}))
	require.Equal(t, "tagged e c,d b a", list(images.ListOpts{Limit: 2}))
	require.Equal(t, "a b c,d e tagged", list(images.ListOpts{Limit: 1, Sort: "name:asc"}))
	require.Equal(t, "tagged e c,d b a", list(images.ListOpts{Limit: 2, SortKey: "name", SortDir: "desc"}))
	require.Equal(t, "c,d b a", list(images.ListOpts{Marker: ids[3]}))
	require.Equal(t, "b", list(images.ListOpts{Name: "b"}))
	require.Equal(t, "c,d b", list(images.ListOpts{Name: `in:b,"c,d"`}))
	require.Equal(t, "b a", list(images.ListOpts{ID: "in:" + ids[0] + "," + ids[1]}))
	require.Equal(t, "a", list(images.ListOpts{Status: images.ImageStatusActive}))
	require.Equal(t, "tagged", list(images.ListOpts{Tags: []string{"t", "u"}}))
	require.Equal(t, "", list(images.ListOpts{Tags: []string{"t", "v"}}))
	require.Equal(t, "", list(images.ListOpts{Visibility: images.ImageVisibilityPublic}))
	require.Equal(t, "", list(images.ListOpts{Owner: "q"}))
	require.Equal(t, "e c,d b a", list(images.ListOpts{DiskFormat: "in:raw,iso", ContainerFormat: "bare"}))
	// gophercloud leaves 64-bit filters out of the query
	for q, n := range map[string]int{"size_min=5&size_max=5": 1, "size_min=6": 0, "size_max=4": 0} {
		_, text := l.do("GET", "images?"+q, nil)
		require.Equal(t, n, strings.Count(text, `"id":`), q)
	}
	require.Equal(t, "", list(images.ListOpts{CreatedAtQuery: &images.ImageDateQuery{Date: time.Now().Add(time.Hour), Filter: images.FilterGT}}))
	require.Equal(t, "tagged e c,d b a", list(images.ListOpts{UpdatedAtQuery: &images.ImageDateQuery{Date: time.Now().Add(time.Hour), Filter: images.FilterLTE}}))
	_, text := l.do("GET", "images?os_distro=debian&limit=1", nil)
	require.Contains(t, text, `"name":"tagged"`)
	require.Contains(t, text, `"first":"/v2/images?limit=1&os_distro=debian"`)
	_, text = l.do("GET", "images?limit=0", nil)
	require.Contains(t, text, `"images":[]`)
	_, text = l.do("GET", "images?limit=1&name=in:a,b", nil)
	require.Contains(t, text, `"next":"/v2/images?limit=1&marker=`+ids[1])
	for _, q := range []string{"limit=-1", "limit=x", "marker=nope", "sort_key=secret", "sort=name:up", "visibility=dark", "member_status=maybe",
		"size_min=x", "protected=perhaps", "created_at=gt:never", `name=in:"a`, "os_hidden=2", "sort=name&sort_dir=asc", "a=%zz"} {
		resp, _ := l.do("GET", "images?"+q, nil)
		require.Equal(t, 400, resp.StatusCode, q)
	}
}

func TestMembersAndTags(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	owner, guest := l.client("p"), l.client("q")
	i := l.create("shared", owner)
	_, err := images.Get(l.ctx, guest, i.ID).Extract()
	refused(t, 404, err)
	m, err := members.Create(l.ctx, owner, i.ID, "q").Extract()
	require.NoError(t, err)
	require.Equal(t, "pending", m.Status)
	_, err = members.Create(l.ctx, owner, i.ID, "q").Extract()
	refused(t, 409, err)
	_, err = members.Update(l.ctx, owner, i.ID, "q", members.UpdateOpts{Status: "accepted"}).Extract()
	refused(t, 403, err)
	m, err = members.Update(l.ctx, guest, i.ID, "q", members.UpdateOpts{Status: "accepted"}).Extract()
	require.NoError(t, err)
	require.Equal(t, "accepted", m.Status)
	resp, _ := l.do("PUT", "images/"+i.ID+"/members/q", strings.NewReader(`{"member":"q","status":"accepted"}`), "X-Auth-Token", "q") // as openstacksdk does
	require.Equal(t, 200, resp.StatusCode)
	m, err = members.Get(l.ctx, guest, i.ID, "q").Extract()
	require.NoError(t, err)
	require.Equal(t, "q", m.MemberID)
	pages, err := members.List(owner, i.ID).AllPages(l.ctx)
	require.NoError(t, err)
	all, err := members.ExtractMembers(pages)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.NoError(t, members.Delete(l.ctx, owner, i.ID, "q").ExtractErr())
	_, err = images.Get(l.ctx, guest, i.ID).Extract()
	refused(t, 404, err)

	resp, _ = l.do("PUT", "images/"+i.ID+"/tags/a%2Fb", nil)
	require.Equal(t, 204, resp.StatusCode)
	i, err = images.Get(l.ctx, owner, i.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, []string{"a/b"}, i.Tags)
	resp, _ = l.do("DELETE", "images/"+i.ID+"/tags/a%2Fb", nil)
	require.Equal(t, 204, resp.StatusCode)
	resp, _ = l.do("DELETE", "images/"+i.ID+"/tags/a%2Fb", nil)
	require.Equal(t, 404, resp.StatusCode)
}

func TestActions(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	i := l.create("x", l.client("p"))
	require.NoError(t, imagedata.Upload(l.ctx, l.client("p"), i.ID, strings.NewReader("abc")).ExtractErr())
	// Glance lets a project's members do this (glance/policies/image.py), and the openstack command hides a refusal.
	resp, _ := l.do("POST", "images/"+i.ID+"/actions/deactivate", nil)
	require.Equal(t, 204, resp.StatusCode)
	_, err := imagedata.Download(l.ctx, l.client("p"), i.ID).Extract()
	refused(t, 403, err)
	resp, _ = l.do("POST", "images/"+i.ID+"/actions/reactivate", nil)
	require.Equal(t, 204, resp.StatusCode)
	resp, _ = l.do("POST", "images/"+i.ID+"/actions/deactivate", nil, "X-Auth-Token", "q")
	require.Equal(t, 404, resp.StatusCode)
	_, err = imagedata.Download(l.ctx, l.client("p"), i.ID).Extract()
	require.NoError(t, err)
}

func TestRanges(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	i := l.create("x", l.client("p"))
	resp, _ := l.do("GET", "images/"+i.ID+"/file", nil)
	require.Equal(t, 204, resp.StatusCode)
	require.NoError(t, imagedata.Upload(l.ctx, l.client("p"), i.ID, strings.NewReader("0123456789")).ExtractErr())
	resp, text := l.do("GET", "images/"+i.ID+"/file", nil)
	require.Equal(t, "0123456789", text)
	require.Equal(t, "781e5e245d69b566979b86e28d23f2c7", resp.Header.Get("Content-MD5"))
	require.Equal(t, "10", resp.Header.Get("Content-Length"))
	for header, want := range map[string][2]string{
		"bytes=0-0": {"0", "bytes 0-0/10"}, "bytes=7-": {"789", "bytes 7-9/10"}, "bytes=2-4": {"234", "bytes 2-4/10"},
		"bytes=8-99": {"89", "bytes 8-9/10"}, "bytes=-2": {"89", "bytes 8-9/10"}, "bytes=-99": {"0123456789", "bytes 0-9/10"},
	} {
		resp, text := l.do("GET", "images/"+i.ID+"/file", nil, "Range", header)
		require.Equal(t, 206, resp.StatusCode, header)
		require.Equal(t, want, [2]string{text, resp.Header.Get("Content-Range")}, header)
	}
	resp, text = l.do("GET", "images/"+i.ID+"/file", nil, "Content-Range", "bytes 3-5/*")
	require.Equal(t, 206, resp.StatusCode)
	require.Equal(t, "345", text)
	for _, header := range []string{"bytes=10-", "bytes=5-4", "bytes=x-", "bytes=1", "bytes=0-1,3-4", "bytes=-0"} {
		resp, _ := l.do("GET", "images/"+i.ID+"/file", nil, "Range", header)
		require.Equal(t, 416, resp.StatusCode, header)
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for body, status := range map[string]int{
		``: 400, `[]`: 400, `{"name":1}`: 400, `{"name":"a","name":"b"}`: 400, `{"tags":"x"}`: 400, `{"min_disk":"1"}`: 400,
		`{"min_ram":-1}`: 400, `{"visibility":"dark"}`: 400, `{"visibility":null}`: 400, `{"id":"x"}`: 400, `{"id":null}`: 400, `{"prop":1}`: 400,
		`{"prop":null}`: 400, `{"checksum":"x"}`: 403, `{"locations":[]}`: 403, `{"os_glance_x":"y"}`: 403, `{"visibility":"public"}`: 403,
		`{"protected":"yes"}`: 400, `{"disk_format":"floppy"}`: 400, `{"name":null,"disk_format":null}`: 201, `{}`: 201,
	} {
		resp, text := l.do("POST", "images", strings.NewReader(body))
		require.Equal(t, status, resp.StatusCode, "%s: %s", body, text)
	}
	i := l.create("x", l.client("p"))
	patch := "application/openstack-images-v2.1-json-patch"
	for body, status := range map[string]int{
		`{}`: 400, `[{"op":"test","path":"/name","value":"x"}]`: 400, `[{"op":"add","path":"name","value":"x"}]`: 400,
		`[{"op":"add","path":"/name"}]`: 400, `[{"op":"remove","path":"/name","value":1}]`: 400, `[{"op":"remove","path":"/name"}]`: 403,
		`[{"op":"replace","path":"/nope","value":"x"}]`: 409, `[{"op":"remove","path":"/nope"}]`: 409, `[{"op":"add","path":"/a/b","value":"x"}]`: 400,
		`[{"op":"replace","path":"/status","value":"active"}]`: 403, `[{"op":"replace","path":"/owner","value":"q"}]`: 403,
		`[{"op":"add","path":"/p","value":"1"},{"op":"replace","path":"/p","value":"2"}]`:                                                     200,
		`[{"op":"add","path":"/tags/0","value":"b"},{"op":"add","path":"/tags/-","value":"a"},{"op":"replace","path":"/tags/0","value":"c"}]`: 200,
		`[{"op":"remove","path":"/tags/9"}]`: 400, `[{"op":"add","path":"/tags/0","value":7}]`: 400, `[]`: 200,
	} {
		resp, text := l.do("PATCH", "images/"+i.ID, strings.NewReader(body), "Content-Type", patch)
		require.Equal(t, status, resp.StatusCode, "%s: %s", body, text)
	}
	resp, _ := l.do("PATCH", "images/"+i.ID, strings.NewReader(`[]`), "Content-Type", "application/json")
	require.Equal(t, 415, resp.StatusCode)
	resp, _ = l.do("PUT", "images/"+i.ID+"/file", strings.NewReader(`x`), "Content-Type", "text/plain")
	require.Equal(t, 415, resp.StatusCode)
	resp, text := l.do("PUT", "images/"+i.ID+"/file", bytes.NewReader(make([]byte, 1<<20+1)), "Content-Type", "application/octet-stream")
	require.Equal(t, 413, resp.StatusCode, text)
	got, err := images.Get(l.ctx, l.client("p"), i.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, images.ImageStatusQueued, got.Status)
	require.Equal(t, []string{"a", "c"}, got.Tags)
	require.Equal(t, "2", got.Properties["p"])
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for path, part := range map[string]string{"schemas/image": `"os_hidden"`, "schemas/images": `"describedby"`, "schemas/member": `"member_id"`, "schemas/members": `"first"`} {
		resp, text := l.do("GET", path, nil)
		require.Equal(t, 200, resp.StatusCode, path)
		require.Contains(t, text, part)
	}
	info, err := imageimport.Get(l.ctx, l.client("p")).Extract()
	require.NoError(t, err)
	require.Empty(t, info.ImportMethods.Value)
	for _, path := range []string{"schemas/nothing", "tasks", "info/stores", "metadefs/namespaces"} {
		resp, _ := l.do("GET", path, nil)
		require.Equal(t, 404, resp.StatusCode, path)
	}
	_, err = images.Get(l.ctx, l.client("wrong"), "x").Extract()
	refused(t, 401, err)
}

func TestIdempotentUpload(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	i := l.create("x", l.client("p"))
	put := func(data string, headers ...string) *http.Response {
		resp, _ := l.do("PUT", "images/"+i.ID+"/file", strings.NewReader(data), append([]string{"Content-Type", "application/octet-stream"}, headers...)...)
		return resp
	}
	require.Equal(t, 204, put("abc", "Idempotency-Key", "k").StatusCode)
	again := put("abc", "Idempotency-Key", "k")
	require.Equal(t, 204, again.StatusCode)
	require.Equal(t, "true", again.Header.Get("Idempotent-Replayed"))
	require.Equal(t, 409, put("abd", "Idempotency-Key", "k").StatusCode)
	require.Equal(t, 409, put("abc", "Idempotency-Key", "other").StatusCode)
	require.Equal(t, 409, put("abc").StatusCode)

	first, text := l.do("POST", "images", strings.NewReader(`{"name":"once"}`), "Idempotency-Key", "c")
	require.Equal(t, 201, first.StatusCode)
	_, replayed := l.do("POST", "images", strings.NewReader(`{"name":"once"}`), "Idempotency-Key", "c")
	require.Equal(t, text, replayed)
}

// TestBrokenUpload breaks the connection in the middle of a body with a declared length.
func TestBrokenUpload(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	i := l.create("x", l.client("p"))
	u, err := url.Parse(l.url)
	require.NoError(t, err)
	conn, err := net.Dial("tcp", u.Host)
	require.NoError(t, err)
	_, err = fmt.Fprintf(conn, "PUT %simages/%s/file HTTP/1.1\r\nHost: x\r\nX-Auth-Token: p\r\nContent-Type: application/octet-stream\r\nContent-Length: 100\r\n\r\nabc", u.Path, i.ID)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	// the image is open for the next attempt as soon as the server has noticed
	for {
		err := imagedata.Upload(l.ctx, l.client("p"), i.ID, strings.NewReader("whole")).ExtractErr()
		if err == nil {
			break
		}
		refused(t, 409, err)
	}
	got, err := images.Get(l.ctx, l.client("p"), i.ID).Extract()
	require.NoError(t, err)
	require.EqualValues(t, 5, got.SizeBytes)
}

func FuzzCreateAndPatch(f *testing.F) {
	f.Add([]byte(`{"name":"a","tags":["x"],"k":"v"}`), []byte(`[{"op":"add","path":"/tags/-","value":"y"},{"op":"remove","path":"/k"}]`))
	f.Fuzz(func(t *testing.T, body, patch []byte) {
		glance.DecodeForFuzz(body, patch)
	})
}

func FuzzQuery(f *testing.F) {
	f.Add(`name=in:a,"b,c"&created_at=gt:2026-01-02T03:04:05Z&size_min=1`, "bytes=1-2", int64(10))
	f.Add("", "bytes=-9223372036854775807", int64(1))
	f.Add("", "bytes=0-9223372036854775807", int64(1))
	f.Fuzz(func(t *testing.T, query, span string, size int64) { glance.QueryForFuzz(query, span, size) })
}
