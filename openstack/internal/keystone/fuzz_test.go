package keystone

import (
	"testing"

	"github.com/nubecula/cloud/fault"
)

func FuzzAuthRequest(f *testing.F) {
	for _, s := range []string{
		`{"auth":{"identity":{"methods":["password"],"password":{"user":{"id":"u","password":"p"}}}}}`,
		`{"auth":{"identity":{"methods":["token"],"token":{"id":"t"}},"scope":{"project":{"name":"p","domain":{"id":"default"}}}}}`,
		`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"u","domain":{"name":"d"},"password":""}}},"scope":"unscoped"}}`,
		`{"auth":{"identity":{"methods":["token"]},"scope":{"system":{"all":true}}}}`, `{"auth":null}`, `[]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		req, err := authRequest(body)
		if err != nil {
			if c := fault.CodeOf(err); c != fault.Invalid && c != fault.Unauthenticated {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		if req.Password == nil && req.Token == "" {
			t.Fatalf("%q: a request without a proof was taken", body)
		}
		if s := req.Scope; s != nil && !s.System && !s.Unscoped && s.ProjectID == "" && s.ProjectName == "" && s.DomainID == "" && s.DomainName == "" {
			t.Fatalf("%q: a scope that names nothing was taken", body)
		}
	})
}
