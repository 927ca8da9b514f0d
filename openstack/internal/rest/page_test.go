package rest_test

import (
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

func query(t *testing.T, q string) *rest.Request {
	r := httptest.NewRequest("GET", "/compute/v2.1/servers?"+q, nil)
	values, err := url.ParseQuery(q)
	require.NoError(t, err)
	return &rest.Request{HTTP: r, Query: values}
}

func TestPage(t *testing.T) {
	t.Parallel()
	list := []string{"a", "b", "c", "d"}
	id := func(s string) string { return s }
	for q, want := range map[string][]string{
		"":                                   {"a", "b", "c"},
		"limit=2":                            {"a", "b"},
		"limit=9&marker=b":                   {"c", "d"},
		"limit=0":                            {},
		"limit=2&page_reverse=True&marker=d": {"b", "c"},
	} {
		p, err := query(t, q).Page(3)
		require.NoError(t, err)
		got, more, err := rest.Cut(list, p, id)
		require.NoError(t, err)
		require.Equal(t, want, got, q)
		require.Equal(t, q != "limit=9&marker=b", more, q)
	}
	p, err := query(t, "sort=name:desc,id&limit=1").Page(3, "id", "name")
	require.NoError(t, err)
	require.Equal(t, []rest.SortKey{{Key: "name", Desc: true}, {Key: "id"}}, p.Sort)
	p, err = query(t, "sort_key=name&sort_key=id&sort_dir=desc").Page(3, "id", "name")
	require.NoError(t, err)
	require.Equal(t, []rest.SortKey{{Key: "name", Desc: true}, {Key: "id", Desc: true}}, p.Sort)
	for _, q := range []string{"limit=-1", "limit=x", "limit=1.5", "sort_key=password", "sort_key=id&sort_dir=up", "sort_dir=up", "sort_key=id&sort_dir=asc&sort_dir=up", "sort=id:up", "sort=id&sort_dir=asc", "page_reverse=2"} {
		_, err := query(t, q).Page(3, "id")
		require.True(t, fault.Is(err, fault.Invalid), q)
	}
	_, _, err = rest.Cut(list, rest.Page{Limit: 1, Marker: "zzz"}, id)
	require.True(t, fault.Is(err, fault.Invalid))
	require.Equal(t, "/compute/v2.1/servers?limit=2&marker=b&name=x", query(t, "name=x&marker=a").Next("b", 2))
	require.Equal(t, "/compute/v2.1/servers?name=x", query(t, "name=x&marker=a").First())
}

func TestQueryValues(t *testing.T) {
	t.Parallel()
	r := query(t, "all=&yes=True&no=0&odd=maybe&n=7&m=-1")
	for name, want := range map[string]bool{"all": true, "yes": true, "no": false, "absent": true} {
		v, err := r.Flag(name, true)
		require.NoError(t, err)
		require.Equal(t, want, v, name)
	}
	_, err := r.Flag("odd", false)
	require.True(t, fault.Is(err, fault.Invalid))
	n, err := r.Number("n", 1)
	require.NoError(t, err)
	require.Equal(t, 7, n)
	_, err = r.Number("m", 1)
	require.True(t, fault.Is(err, fault.Invalid))

	at := time.Date(2026, 1, 2, 3, 4, 5, 678000, time.UTC)
	require.Equal(t, "2026-01-02T03:04:05Z", rest.Seconds(at))
	require.Equal(t, "2026-01-02T03:04:05.000678Z", rest.Micros(at))
	require.Equal(t, "2026-01-02T03:04:05.000678", rest.NaiveMicros(at))
	for _, text := range []string{"2026-01-02T03:04:05.000678Z", "2026-01-02T03:04:05.000678", "2026-01-02 03:04:05.000678", "2026-01-02T05:04:05.000678+02:00"} {
		got, err := rest.ParseTime("t", text)
		require.NoError(t, err)
		require.True(t, got.Equal(at), text)
	}
	_, err = rest.ParseTime("t", "yesterday")
	require.True(t, fault.Is(err, fault.Invalid))
}
