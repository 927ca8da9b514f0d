package glance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/nubecula/cloud/image"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// QueryForFuzz reads the filters of a list and a range of a download.
func QueryForFuzz(text, span1 string, size int64) {
	if values, err := url.ParseQuery(text); err == nil {
		_, _ = query(&rest.Request{Query: values})
	}
	size = max(0, size)
	from, to, _, err := span(http.Header{"Range": {span1}}, size)
	if err == nil && (from < 0 || to > size || from > to) {
		panic(fmt.Sprintf("range %q of %d bytes became %d to %d", span1, size, from, to))
	}
}

// DecodeForFuzz runs the decoders on bytes from outside; what they return must be writable as JSON.
func DecodeForFuzz(body, patch []byte) {
	req, err := decodeCreate(body)
	if err != nil {
		req = &image.CreateRequest{}
	}
	ops, err := decodePatch(patchType, patch)
	if err != nil {
		return
	}
	u, err := applyPatch(&image.Image{Tags: req.Tags, Properties: req.Properties}, ops)
	if err != nil {
		return
	}
	if _, err := json.Marshal(u); err != nil {
		panic(err)
	}
}
