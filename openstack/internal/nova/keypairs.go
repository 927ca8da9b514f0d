package nova

import (
	"context"
	"net/http"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/internal/pattern"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

func (a *api) keypairRoutes() []rest.Route {
	user := query{strict: 75, params: []param{{name: "user_id", since: 10}}}
	paged := query{strict: 75, params: []param{{name: "user_id", since: 10}, {name: "limit", since: 35}, {name: "marker", since: 35}}}
	return []rest.Route{
		get("/os-keypairs", paged.with(a.listKeypairs)),
		{Method: http.MethodPost, Path: "/os-keypairs", Handle: a.createKeypair, Prepare: prepareKeypair},
		get("/os-keypairs/{name}", user.with(a.getKeypair)),
		del("/os-keypairs/{name}", user.with(a.deleteKeypair)),
	}
}

func keypairListFields() []field[*compute.Keypair] {
	return []field[*compute.Keypair]{
		{name: "name", value: func(v *compute.Keypair) any { return v.Name }},
		{name: "public_key", value: func(v *compute.Keypair) any { return v.PublicKey }},
		{name: "fingerprint", value: func(v *compute.Keypair) any { return v.Fingerprint }},
		{name: "type", since: 2, value: func(v *compute.Keypair) any { return string(v.Type) }},
	}
}

func keypairCreateFields() []field[*compute.Keypair] {
	return append(keypairListFields(), []field[*compute.Keypair]{
		{name: "user_id", value: func(v *compute.Keypair) any { return v.UserID }},
		{name: "private_key", until: 91, value: func(v *compute.Keypair) any {
			if v.PrivateKey == "" {
				return absent{}
			}
			return v.PrivateKey
		}},
	}...)
}

func keypairFields() []field[*compute.Keypair] {
	return append(keypairListFields(), []field[*compute.Keypair]{
		{name: "user_id", value: func(v *compute.Keypair) any { return v.UserID }},
		{name: "id", value: func(v *compute.Keypair) any { return number(v.UserID + "/" + v.Name) }},
		{name: "created_at", value: func(v *compute.Keypair) any { return rest.NaiveMicros(v.CreatedAt) }},
		{name: "updated_at", value: func(v *compute.Keypair) any { return nil }},
		{name: "deleted", value: func(v *compute.Keypair) any { return false }},
		{name: "deleted_at", value: func(v *compute.Keypair) any { return nil }},
	}...)
}

func (a *api) listKeypairs(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	page, err := r.Page(1000)
	if err != nil {
		return nil, err
	}
	list := []object{}
	if page.Limit == 0 {
		return rest.OK(object{"keypairs": list}), nil
	}
	all, more, err := a.as(r).ListKeypairs(ctx, compute.KeypairQuery{UserID: r.Query.Get("user_id"), Marker: page.Marker, Limit: page.Limit})
	if err != nil {
		return nil, err
	}
	for _, k := range all {
		list = append(list, object{"keypair": show(object{}, keypairListFields(), k, minor(r))})
	}
	doc := object{"keypairs": list}
	if more && r.AtLeast(35) {
		addNext(doc, "keypairs_links", r, true, all[len(all)-1].Name, page.Limit)
	}
	return rest.OK(doc), nil
}

func (a *api) getKeypair(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	k, err := a.as(r).GetKeypair(ctx, r.Query.Get("user_id"), r.Value("name"))
	if err != nil {
		return nil, err
	}
	return rest.OK(object{"keypair": show(object{}, keypairFields(), k, minor(r))}), nil
}

func keypairShape() rule {
	plain := pattern.New(`^[_\- a-zA-Z0-9]+$`)
	more := pattern.New(`^[_\-@. a-zA-Z0-9]+$`)
	nameRule := func(allowed *pattern.Pattern, remedy string) rule {
		return text(1, 255, remedy, func(s string) bool { return trimmed(s) && allowed.MatchString(s) })
	}
	return under("keypair", props{
		{name: "name", until: 91, must: 1, rule: nameRule(plain, "use letters, digits, '_', '-' and inner spaces")},
		{name: "name", since: 92, must: 92, rule: nameRule(more, "use letters, digits, '_', '-', '@', '.' and inner spaces")},
		{name: "public_key", until: 91, rule: anyText},
		{name: "public_key", since: 92, must: 92, rule: anyText},
		{name: "type", since: 2, rule: oneOf("ssh", "x509")},
		{name: "user_id", since: 10, rule: anyText},
	}.check)
}

type keypairBody struct {
	Keypair struct {
		Name      string          `json:"name"`
		PublicKey string          `json:"public_key"`
		Type      compute.KeyType `json:"type"`
		UserID    string          `json:"user_id"`
	} `json:"keypair"`
}

// preparedKeypair is a request for a key pair, with the key that was made for it if it brought none.
type preparedKeypair struct {
	compute.CreateKeypair
	privateKey string
}

// prepareKeypair makes the key outside of the transaction, where a second run would make another one.
func prepareKeypair(_ context.Context, r *rest.Request) (any, error) {
	body, err := read[keypairBody](r, keypairShape())
	if err != nil {
		return nil, err
	}
	b := &body.Keypair
	p := &preparedKeypair{CreateKeypair: compute.CreateKeypair{Name: b.Name, Type: b.Type, PublicKey: b.PublicKey, UserID: b.UserID}}
	if p.PublicKey == "" && p.Type != compute.X509 {
		p.PublicKey, p.privateKey, err = compute.GenerateKey(b.Name)
	}
	return p, err
}

func (a *api) createKeypair(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	p := r.Prepared.(*preparedKeypair)
	k, err := a.as(r).CreateKeypair(ctx, p.CreateKeypair)
	if err != nil {
		return nil, err
	}
	k.PrivateKey = p.privateKey
	doc := object{"keypair": show(object{}, keypairCreateFields(), k, minor(r))}
	if r.AtLeast(2) {
		return rest.Created(doc), nil
	}
	return rest.OK(doc), nil
}

func (a *api) deleteKeypair(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	status := http.StatusNoContent
	if !r.AtLeast(2) {
		status = http.StatusAccepted
	}
	return &rest.Response{Status: status}, a.as(r).DeleteKeypair(ctx, r.Query.Get("user_id"), r.Value("name"))
}
