package rest

import (
	"context"
	"net/http"
)

// Link is an entry of "links".
type Link struct {
	Rel  string `json:"rel"`
	Href string `json:"href"`
	Type string `json:"type,omitempty"`
}

type object = map[string]any

// glanceVersions are those whose calls the image view has, newest first.
var glanceVersions = []string{"v2.7", "v2.5", "v2.4", "v2.3", "v2.2", "v2.1", "v2.0"}

// rootDocument is what a service answers at its unversioned root.
func (a *API) rootDocument(r *Request) (*Response, error) {
	switch a.Service {
	case Identity:
		return &Response{Status: http.StatusMultipleChoices, Body: object{"versions": object{"values": []any{a.identityVersion(r)}}}}, nil
	case Image:
		return &Response{Status: http.StatusMultipleChoices, Body: a.imageVersions(r)}, nil
	case Compute:
		return OK(object{"versions": []any{a.computeVersion(r)}}), nil
	}
	return OK(object{"versions": []any{object{"id": "v2.0", "status": "CURRENT", "links": []Link{{Rel: "self", Href: r.URL("/")}}}}}), nil
}

// versionDocument is what it answers at the root of its version.
func (a *API) versionDocument(_ context.Context, r *Request) (*Response, error) {
	switch a.Service {
	case Identity:
		return OK(object{"version": a.identityVersion(r)}), nil
	case Image:
		return OK(a.imageVersions(r)), nil
	case Compute:
		v := a.computeVersion(r)
		v["media-types"] = []any{object{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}}
		return OK(object{"version": v}), nil
	}
	return OK(a.networkResources(r)), nil
}

func (a *API) identityVersion(r *Request) object {
	return object{"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
		"links":       []Link{{Rel: "self", Href: r.URL("/")}},
		"media-types": []any{object{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}}}
}

func (a *API) computeVersion(r *Request) object {
	return object{"id": "v2.1", "status": "CURRENT", "version": a.Max.String(), "min_version": a.Min.String(),
		"updated": "2013-07-23T11:33:21Z", "links": []Link{{Rel: "self", Href: r.URL("/")}}}
}

func (a *API) imageVersions(r *Request) object {
	var list []any
	for i, id := range glanceVersions {
		status := "SUPPORTED"
		if i == 0 {
			status = "CURRENT"
		}
		list = append(list, object{"id": id, "status": status, "links": []Link{{Rel: "self", Href: r.URL("/")}}})
	}
	return object{"versions": list}
}

// networkResources lists the collections of Neutron, taken from the routes.
func (a *API) networkResources(r *Request) object {
	list := []any{}
	for i := range a.Routes {
		seg := segments(a.Routes[i].Path)
		if len(seg) != 1 || a.Routes[i].Method != http.MethodGet {
			continue
		}
		collection := underscored(seg[0])
		list = append(list, object{"name": singular(collection), "collection": collection,
			"links": []Link{{Rel: "self", Href: r.URL("/" + seg[0])}}})
	}
	return object{"resources": list}
}
