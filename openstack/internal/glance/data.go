package glance

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/image"
	"github.com/nubecula/cloud/openstack/internal/rest"
	"github.com/nubecula/cloud/store"
)

func (a *api) upload(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	if kind, _, err := mime.ParseMediaType(r.HTTP.Header.Get("Content-Type")); err != nil || kind != "application/octet-stream" {
		return nil, rest.Status(http.StatusUnsupportedMediaType, "the data of an image must have the content type application/octet-stream")
	}
	if r.Once != nil && r.Once.Found != nil {
		return replay(r)
	}
	req := image.UploadRequest{Body: r.Stream, SizeBytes: max(0, r.HTTP.ContentLength)}
	if r.Once != nil {
		req.Finish = func(tx *store.Tx, i *image.Image) error { return r.Once.Keep(tx, i.SHA512, rest.NoContent()) }
	}
	_, err := a.as(r).Upload(ctx, r.Value("id"), req)
	return rest.NoContent(), err
}

// replay answers a repeated upload as the first, provided that it is the same data.
func replay(r *rest.Request) (*rest.Response, error) {
	h := sha512.New()
	if _, err := io.Copy(h, r.Stream); err != nil {
		return nil, fault.New(fault.Invalid, "the upload broke off: %w", err)
	}
	if hex.EncodeToString(h.Sum(nil)) != r.Once.Digest {
		return nil, r.Once.DifferentBody()
	}
	return r.Once.Found, nil
}

func (a *api) download(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	i, err := a.as(r).Get(ctx, r.Value("id"))
	if err != nil {
		return nil, err
	}
	if !i.HasData() {
		return rest.NoContent(), nil
	}
	from, to, part, err := span(r.HTTP.Header, i.SizeBytes)
	if err != nil {
		return nil, rest.Status(http.StatusRequestedRangeNotSatisfiable, err.Error())
	}
	i, data, err := a.as(r).Download(ctx, i.ID, from)
	if err != nil {
		return nil, err
	}
	resp := &rest.Response{Stream: data, Size: to - from}
	resp.With("Content-Type", "application/octet-stream").With("Accept-Ranges", "bytes")
	if !part {
		return resp.With("Content-MD5", i.MD5), nil
	}
	resp.Status = http.StatusPartialContent
	resp.Stream = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(data, to-from), data}
	return resp.With("Content-Range", "bytes "+strconv.FormatInt(from, 10)+"-"+strconv.FormatInt(to-1, 10)+"/"+strconv.FormatInt(i.SizeBytes, 10)), nil
}

// span reads which bytes [from, to) are wanted: one range of Range, or of Content-Range, which old clients of Glance send.
func span(h http.Header, size int64) (from, to int64, part bool, err error) {
	text, ok := strings.CutPrefix(h.Get("Range"), "bytes=")
	if !ok {
		if text, ok = strings.CutPrefix(h.Get("Content-Range"), "bytes "); ok {
			text, _, _ = strings.Cut(text, "/")
		}
	}
	if !ok {
		return 0, size, false, nil
	}
	bad := fault.InvalidField("Range", text, "ask for one range within the "+strconv.FormatInt(size, 10)+" bytes of the image")
	first, last, ok := strings.Cut(strings.TrimSpace(text), "-")
	if !ok || strings.Contains(text, ",") {
		return 0, 0, false, bad
	}
	if first == "" { // the last bytes
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil || n <= 0 || size == 0 {
			return 0, 0, false, bad
		}
		return max(0, size-n), size, true, nil
	}
	from, err = strconv.ParseInt(first, 10, 64)
	if err != nil || from < 0 || from >= size {
		return 0, 0, false, bad
	}
	to = size
	if last != "" {
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil || n < from {
			return 0, 0, false, bad
		}
		to = min(size-1, n) + 1
	}
	return from, to, true, nil
}
