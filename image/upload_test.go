package image_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/image"
	"github.com/nubecula/cloud/store"
)

func TestUploadAndDownload(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	data := bytes.Repeat([]byte("nubecula"), 50000)
	i := r.create(nil)
	require.Equal(t, image.Queued, i.Status)
	got, err := r.as("p").Upload(r.ctx, i.ID, image.UploadRequest{Body: bytes.NewReader(data), SizeBytes: int64(len(data))})
	require.NoError(t, err)
	m, s := md5.Sum(data), sha512.Sum512(data)
	require.Equal(t, image.Active, got.Status)
	require.Equal(t, hex.EncodeToString(m[:]), got.MD5)
	require.Equal(t, hex.EncodeToString(s[:]), got.SHA512)
	require.EqualValues(t, len(data), got.SizeBytes)
	require.EqualValues(t, len(data), got.VirtualBytes)
	require.Equal(t, "raw", got.Format)
	for _, offset := range []int64{0, 7, int64(len(data))} {
		_, body, err := r.as("p").Download(r.ctx, i.ID, offset)
		require.NoError(t, err)
		text, err := io.ReadAll(body)
		require.NoError(t, err)
		require.NoError(t, body.Close())
		require.True(t, bytes.Equal(data[offset:], text))
	}
	_, _, err = r.as("p").Download(r.ctx, i.ID, int64(len(data))+1)
	require.True(t, fault.Is(err, fault.Invalid), err)
	require.True(t, fault.Is(r.upload(i.ID, data), fault.Conflict))
	r.settle()

	require.NoError(t, r.as("p").Delete(r.ctx, i.ID))
	_, err = r.as("p").Get(r.ctx, i.ID)
	require.True(t, fault.Is(err, fault.NotFound), err)
	r.settle()
	require.True(t, fault.Is(r.as("p").Delete(r.ctx, i.ID), fault.NotFound))

	var types []string
	events, err := r.store.Events(r.ctx, 0, 100)
	require.NoError(t, err)
	for _, e := range events {
		if strings.HasPrefix(e.Type, "image.") {
			types = append(types, e.Type)
			require.Equal(t, "p", e.ProjectID)
			require.Equal(t, "u-p", e.UserID)
		}
	}
	require.Equal(t, []string{"image.create", "image.upload.start", "image.upload.end", "image.delete"}, types)
}

func TestEmptyImage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	i := r.create(nil)
	require.NoError(t, r.upload(i.ID, nil))
	require.Equal(t, "d41d8cd98f00b204e9800998ecf8427e", r.get(i.ID).MD5)
	r.settle()
}

func TestRefusedUploads(t *testing.T) {
	t.Parallel()
	qcow2 := make([]byte, 70000)
	copy(qcow2, "QFI\xfb\x00\x00\x00\x03")
	copy(qcow2[24:], "\x00\x00\x00\x00\x40\x00\x00\x00")
	copy(qcow2[100:], "\x00\x00\x00\x68")
	backed := bytes.Clone(qcow2)
	backed[15] = 1
	r := newRig(t)
	for name, c := range map[string]struct {
		disk string
		req  image.UploadRequest
		code fault.Code
		want string
	}{
		"declared raw, is qcow2":  {"raw", image.UploadRequest{Body: bytes.NewReader(qcow2)}, fault.Invalid, "its data is qcow2"},
		"declared vmdk, is qcow2": {"vmdk", image.UploadRequest{Body: bytes.NewReader(qcow2)}, fault.Invalid, "its data is qcow2"},
		"backing file":            {"qcow2", image.UploadRequest{Body: bytes.NewReader(backed)}, fault.Invalid, "backing file"},
		"too large":               {"raw", image.UploadRequest{Body: bytes.NewReader(make([]byte, 1<<20+1))}, fault.TooLarge, "the most"},
		"announced too large":     {"raw", image.UploadRequest{Body: bytes.NewReader(nil), SizeBytes: 1<<20 + 1}, fault.TooLarge, "the most"},
		"short":                   {"raw", image.UploadRequest{Body: strings.NewReader("abc"), SizeBytes: 4}, fault.Invalid, "3 bytes, 4 were announced"},
		"broken":                  {"raw", image.UploadRequest{Body: io.MultiReader(strings.NewReader("abc"), broken{})}, fault.Invalid, "broke off"},
		"finish":                  {"raw", image.UploadRequest{Body: strings.NewReader("abc"), Finish: func(*store.Tx, *image.Image) error { return fault.New(fault.Conflict, "not now") }}, fault.Conflict, "not now"},
	} {
		i := r.create(func(c2 *image.CreateRequest) { c2.DiskFormat = c.disk })
		_, err := r.as("p").Upload(r.ctx, i.ID, c.req)
		require.True(t, fault.Is(err, c.code), "%s: %v", name, err)
		require.ErrorContains(t, err, c.want, name)
		r.settle()
		require.Equal(t, image.Queued, r.get(i.ID).Status, name)
	}
	i := r.create(func(c *image.CreateRequest) { c.DiskFormat = "qcow2" })
	require.NoError(t, r.upload(i.ID, qcow2))
	require.EqualValues(t, 1<<30, r.get(i.ID).VirtualBytes)
	require.Equal(t, "qcow2", r.get(i.ID).Format)

	i = r.create(func(c *image.CreateRequest) { c.ContainerFormat = "" })
	require.ErrorContains(t, r.upload(i.ID, nil), "container_format")
	_, _, err := r.as("p").Download(r.ctx, i.ID, 0)
	require.True(t, fault.Is(err, fault.Conflict))
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

func TestDriverFails(t *testing.T) {
	t.Parallel()
	for _, when := range []inject.When{inject.Before, inject.After} {
		r := newRig(t)
		i := r.create(nil)
		remove := r.plan.Fail(inject.Rule{Method: "Put", When: when, Err: fault.New(fault.Exhausted, "full")})
		require.True(t, fault.Is(r.upload(i.ID, []byte("abc")), fault.Exhausted))
		r.settle()
		require.Equal(t, image.Queued, r.get(i.ID).Status)
		remove()
		require.NoError(t, r.upload(i.ID, []byte("abc")))
		r.settle()
	}
}

func TestConcurrentUploads(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	i := r.create(nil)
	var won atomic.Int32
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			err := r.upload(i.ID, bytes.Repeat([]byte{byte(n)}, 1000))
			if err == nil {
				won.Add(1)
			} else if !fault.Is(err, fault.Conflict) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, won.Load())
	r.settle()
	_, body, err := r.as("p").Download(r.ctx, i.ID, 0)
	require.NoError(t, err)
	data, err := io.ReadAll(body)
	require.NoError(t, err)
	m := md5.Sum(data)
	require.Equal(t, hex.EncodeToString(m[:]), r.get(i.ID).MD5)
}

func TestUploadsWaitForASlot(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.engine.Kill()
	r.uploads = 1
	r.start()
	first, second, g := r.create(nil), r.create(nil), newGate("abc")
	done := make(chan error, 2)
	go func() {
		_, err := r.as("p").Upload(r.ctx, first.ID, image.UploadRequest{Body: g})
		done <- err
	}()
	<-g.reading
	ctx, cancel := context.WithCancel(r.ctx)
	cancel()
	_, err := r.as("p").Upload(ctx, second.ID, image.UploadRequest{Body: strings.NewReader("x")})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, image.Queued, r.get(second.ID).Status)
	go func() { done <- r.upload(second.ID, []byte("x")) }()
	close(g.more)
	require.NoError(t, <-done)
	require.NoError(t, <-done)
	r.settle()
}

func TestDeleteDuringUpload(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	i, g := r.create(nil), newGate("abc")
	done := make(chan error, 1)
	go func() {
		_, err := r.as("p").Upload(r.ctx, i.ID, image.UploadRequest{Body: g})
		done <- err
	}()
	<-g.reading
	require.Equal(t, image.Saving, r.get(i.ID).Status)
	require.NoError(t, r.as("p").Delete(r.ctx, i.ID))
	_, err := r.as("p").Get(r.ctx, i.ID)
	require.True(t, fault.Is(err, fault.NotFound))
	close(g.more)
	err = <-done
	require.True(t, fault.Is(err, fault.Gone), err)
	r.settle()
}

func TestClientGoesAway(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	i, g := r.create(nil), newGate("abc")
	ctx, cancel := context.WithCancel(r.ctx)
	done := make(chan error, 1)
	go func() {
		_, err := r.as("p").Upload(ctx, i.ID, image.UploadRequest{Body: g})
		done <- err
	}()
	<-g.reading
	cancel()
	close(g.more)
	require.Error(t, <-done)
	r.settle()
	require.Equal(t, image.Queued, r.get(i.ID).Status)
}

func TestProcessDiesDuringUpload(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	i, g := r.create(nil), newGate("abc")
	done := make(chan error, 1)
	go func() {
		_, err := r.as("p").Upload(r.ctx, i.ID, image.UploadRequest{Body: g})
		done <- err
	}()
	<-g.reading
	r.engine.Kill()
	close(g.more) // nothing is left to wait for
	err := <-done
	require.True(t, fault.Is(err, fault.Unavailable), err)
	require.Equal(t, image.Saving, r.get(i.ID).Status)
	r.puts.Wait() // a dead process writes nothing more; one that hangs may: TestSweep
	r.start()
	r.settle()
	require.Equal(t, image.Queued, r.get(i.ID).Status)
	require.NoError(t, r.upload(i.ID, []byte("again")))
	require.EqualValues(t, 5, r.get(i.ID).SizeBytes)
}

func TestSweep(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	i := r.create(nil)
	require.NoError(t, r.upload(i.ID, []byte("abc")))
	old := r.get(i.ID).DataID
	require.NoError(t, r.as("p").Delete(r.ctx, i.ID))
	r.settle()
	keep := r.create(nil)
	require.NoError(t, r.upload(keep.ID, []byte("abc")))
	for _, id := range []string{old, "stranger"} { // a late write, and data of another store
		_, err := r.svc.Data().Put(r.ctx, id, strings.NewReader("late"))
		require.NoError(t, err)
	}
	leaks, err := r.svc.Leaks(r.ctx)
	require.NoError(t, err)
	require.Len(t, leaks, 2)
	n, unknown, err := r.svc.Sweep(r.ctx)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, []string{"stranger"}, unknown)
	require.NoError(t, r.svc.Data().Delete(r.ctx, "stranger"))
	r.settle()
}
