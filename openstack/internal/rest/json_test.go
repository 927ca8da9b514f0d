package rest_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

type server struct {
	Name     string            `json:"name"`
	Count    rest.Int          `json:"count"`
	Strict   int               `json:"strict"`
	Pass     string            `json:"adminPass"`
	Drive    *rest.Bool        `json:"drive"`
	Metadata map[string]string `json:"metadata"`
	Networks []struct {
		UUID string `json:"uuid"`
	} `json:"networks"`
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		``:                                     "no body",
		`{`:                                    "not JSON",
		`{"server":{}`:                         "not JSON",
		`[]`:                                   "must be an object",
		`null`:                                 "server: is missing",
		`{"other":{}}`:                         "server: is missing",
		`{"server":null}`:                      "server: is missing",
		`{"server":{},"other":1}`:              "other: is not known here",
		`{"server":{}} {}`:                     "goes on after",
		`{"server":{"name":1}}`:                "server.name: 1 is not valid: it must be a string",
		`{"server":{"name":"a","name":1}}`:     "name: is given twice",
		`{"server":{"nmae":"a"}}`:              "nmae: is not known here",
		`{"server":{"strict":"1"}}`:            `server.strict: "1" is not valid: it must be an integer`,
		`{"server":{"strict":1.5}}`:            `server.strict: 1.5 is not valid: it must be an integer`,
		`{"server":{"count":"x"}}`:             `server.count: "x" is not valid: it must be an integer`,
		`{"server":{"drive":"maybe"}}`:         `server.drive: "maybe" is not valid: it must be true or false`,
		`{"server":{"metadata":{"a":1}}}`:      `server.metadata`,
		`{"server":{"networks":{}}}`:           `server.networks: {} is not valid: it must be a list`,
		`{"server":{"networks":[{"uuid":7}]}}`: `server.networks.uuid: number is not valid: it must be a string`,
		`{"server":{"adminPass":["s3cret"]}}`:  `server.adminPass: array is not valid: it must be a string`,
		`{"server":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`: "more than 32 levels",
	} {
		_, err := rest.Wrapped[server](&rest.Request{Body: []byte(body)}, "server", rest.Strict)
		require.True(t, fault.Is(err, fault.Invalid), "%s: %v", body, err)
		require.ErrorContains(t, err, want, body)
	}
	v, err := rest.Wrapped[server](&rest.Request{Body: []byte(`{"server":{"name":"a","count":"3","drive":"True","metadata":{"A":"1","a":"2"},"new":1},"hints":{}}`)}, "server", rest.Loose)
	require.NoError(t, err)
	require.Equal(t, "a", v.Name)
	require.EqualValues(t, 3, v.Count)
	require.True(t, bool(*v.Drive))
	require.Equal(t, map[string]string{"A": "1", "a": "2"}, v.Metadata)
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"server":{"name":"a","networks":[{"uuid":"x"}]}}`))
	f.Add([]byte(`{"server":{"count":"1e9","drive":null}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := rest.Wrapped[server](&rest.Request{Body: body}, "server", rest.Strict)
		if err != nil {
			require.True(t, fault.Is(err, fault.Invalid), err)
			return
		}
		require.NotNil(t, v)
		require.True(t, json.Valid(body))
	})
}
