package image

import (
	"context"
	"fmt"

	"github.com/nubecula/cloud/internal/finding"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// Check looks for records that contradict each other, and explains each.
func (s *Service) Check(tx *store.Tx) ([]finding.Finding, error) {
	l := finding.List{Service: "image"}
	for i, err := range images.Each(tx, store.Query[Image]{}) {
		if err != nil {
			return nil, err
		}
		op, err := operation.Active(tx, operation.Resource{Kind: "image", ID: i.ID})
		if err != nil {
			return nil, err
		}
		if (i.DataID != "") != (i.Status != Queued) {
			l.Add(imageContradicts, "image", i.ID, "image %s is %s with data id %q", i.ID, i.Status, i.DataID)
		}
		if i.HasData() != (i.MD5 != "" && i.SHA512 != "" && i.Format != "") {
			l.Add(imageContradicts, "image", i.ID, "image %s is %s with md5 %q, sha512 %q, format %q", i.ID, i.Status, i.MD5, i.SHA512, i.Format)
		}
		if (i.Status == Saving) != (op != nil) {
			l.Add(imageStuck, "image", i.ID, "image %s is %s; an operation at work on it: %t", i.ID, i.Status, op != nil)
		}
	}
	for m, err := range members.Each(tx, store.Query[Member]{}) {
		if err != nil {
			return nil, err
		}
		if has, err := images.Has(tx, m.ImageID); err != nil || !has {
			if err != nil {
				return nil, err
			}
			l.Add(memberLeft, "image", m.ImageID, "project %s is a member of image %s, which does not exist", m.ProjectID, m.ImageID)
		}
	}
	return l.Found, nil
}

// dataIDs returns the ids of all data that should be there, or that an operation is at work on.
func dataIDs(tx *store.Tx) (map[string]bool, error) {
	out := map[string]bool{}
	for i, err := range images.Each(tx, store.Query[Image]{}) {
		if err != nil {
			return nil, err
		}
		if i.DataID != "" {
			out[i.DataID] = true
		}
	}
	return out, nil
}

// Leaks names data that the driver holds and no image has, torn data of no upload under way, and images whose data
// is not there. Call it when no operation is at work.
func (s *Service) Leaks(ctx context.Context) ([]string, error) {
	there, err := s.data.Images(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	err = s.store.View(ctx, func(tx *store.Tx) error {
		out = nil
		want, err := dataIDs(tx)
		if err != nil {
			return err
		}
		for _, d := range there {
			if !want[d.ID] || d.Torn {
				out = append(out, fmt.Sprintf("image data %s, %d bytes, torn %t", d.ID, d.SizeBytes, d.Torn))
			}
			delete(want, d.ID)
		}
		for id := range want {
			out = append(out, "missing image data "+id)
		}
		return nil
	})
	return out, err
}

// Collections lists the kinds of documents that this package keeps.
func Collections() []store.AnyCollection { return []store.AnyCollection{images, members, retirees} }
