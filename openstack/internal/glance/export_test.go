package glance

import (
	"encoding/json"

	"github.com/nubecula/cloud/image"
)

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
