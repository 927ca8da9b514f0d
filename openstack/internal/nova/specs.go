package nova

import (
	"context"
	"encoding/json"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// specValue is a text, or a number that becomes one.
func specValue(at string, v any, n int) error {
	if _, ok := v.(json.Number); ok {
		return nil
	}
	return text(0, 255, "", nil)(at, v, n)
}

func specsOf(min, max int) rule {
	return mapping(min, max, keyPattern.MatchString, specValue)
}

func specTexts(m map[string]ref) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = string(v)
	}
	return out
}

func (a *api) listSpecs(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	f, err := a.as(r).GetFlavor(ctx, r.Value("id"))
	if err != nil {
		return nil, err
	}
	return rest.OK(object{"extra_specs": orEmpty(f.ExtraSpecs)}), nil
}

func (a *api) createSpecs(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	body, err := read[struct {
		Specs map[string]ref `json:"extra_specs"`
	}](r, under("extra_specs", specsOf(0, unbounded)))
	if err != nil {
		return nil, err
	}
	specs := specTexts(body.Specs)
	if err := checkSpecs(specs, minor(r)); err != nil {
		return nil, err
	}
	if _, err := a.as(r).UpdateExtraSpecs(ctx, r.Value("id"), specs); err != nil {
		return nil, err
	}
	return rest.OK(object{"extra_specs": specs}), nil
}

func (a *api) getSpec(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	f, err := a.as(r).GetFlavor(ctx, r.Value("id"))
	if err != nil {
		return nil, err
	}
	value, ok := f.ExtraSpecs[r.Value("key")]
	if !ok {
		return nil, fault.Missing("extra spec", r.Value("key"))
	}
	return rest.OK(object{r.Value("key"): value}), nil
}

func (a *api) updateSpec(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	body, err := read[map[string]ref](r, specsOf(1, 1))
	if err != nil {
		return nil, err
	}
	specs := specTexts(*body)
	if _, ok := specs[r.Value("key")]; !ok {
		return nil, fault.InvalidField("body", specs, "its key must be that of the URI, "+r.Value("key"))
	}
	if err := checkSpecs(specs, minor(r)); err != nil {
		return nil, err
	}
	if _, err := a.as(r).UpdateExtraSpecs(ctx, r.Value("id"), specs); err != nil {
		return nil, err
	}
	return rest.OK(specs), nil
}

func (a *api) deleteSpec(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return &rest.Response{Status: 200}, a.as(r).DeleteExtraSpec(ctx, r.Value("id"), r.Value("key"))
}
