package cloud_test

import (
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/store"
)

// TestForms: what the store keeps in memory of any document is what reading its JSON would give, and no two of what
// was put, what is kept and what readers get share any memory that can be changed.
func TestForms(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	for _, c := range cloud.Collections() {
		t.Run(c.Kind(), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 0))
			for range 200 {
				f, err := store.FormsOf(c, func(v any) { fill(r, reflect.ValueOf(v).Elem()) })
				require.NoError(t, err, "seed %d", seed)
				require.Equal(t, f.Read, f.Kept, "seed %d: %s", seed, f.Body)
				require.Equal(t, f.Kept, f.Copied, "seed %d", seed)
				again, err := json.Marshal(f.Kept)
				require.NoError(t, err)
				read := reflect.New(reflect.TypeOf(f.Kept).Elem())
				require.NoError(t, json.Unmarshal(again, read.Interface()))
				require.Equal(t, f.Kept, read.Interface(), "seed %d", seed)
				owner := map[uintptr]string{}
				for name, v := range map[string]any{"given": f.Given, "kept": f.Kept, "copied": f.Copied} {
					reach(reflect.ValueOf(v), func(p uintptr) {
						if other, ok := owner[p]; ok && other != name {
							t.Fatalf("seed %d: %s and %s share memory: %#v", seed, name, other, v)
						}
						owner[p] = name
					})
				}
			}
		})
	}
}

// fill makes up a value: often empty in one way or another, and with what JSON does not carry.
func fill(r *rand.Rand, v reflect.Value) {
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		*p = []time.Time{{}, time.Now(), time.Now().UTC(), time.Unix(r.Int64N(1<<33), r.Int64N(1e9)).In(time.FixedZone("", 3600*r.IntN(12)))}[r.IntN(4)]
		return
	case *netip.Addr:
		*p = []netip.Addr{{}, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fe80::1%eth0")}[r.IntN(3)]
		return
	case *netip.Prefix:
		*p = []netip.Prefix{{}, netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/64")}[r.IntN(3)]
		return
	case *json.RawMessage:
		*p = []json.RawMessage{nil, json.RawMessage(` { "a" : "<b>" } `), json.RawMessage(`[1]`)}[r.IntN(3)]
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(r.Int64N(3) - 1)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(r.Uint64N(3))
	case reflect.Float64:
		v.SetFloat(r.NormFloat64())
	case reflect.String:
		v.SetString([]string{"", "a", "\x00é<&", "bad \xff\xfe bytes"}[r.IntN(4)])
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() || v.Type().Field(i).Anonymous {
				fill(r, v.Field(i))
			}
		}
	case reflect.Pointer:
		if r.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(r, v.Elem())
		}
	case reflect.Slice:
		if n := r.IntN(4); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n-1, n))
			for i := range n - 1 {
				fill(r, v.Index(i))
			}
		}
	case reflect.Map:
		if n := r.IntN(4); n > 0 {
			v.Set(reflect.MakeMap(v.Type()))
			for range n - 1 {
				key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
				fill(r, key)
				fill(r, elem)
				v.SetMapIndex(key, elem)
			}
		}
	}
}

// reach tells of everything behind a value that somebody could change.
func reach(v reflect.Value, tell func(p uintptr)) {
	if v.Type() == reflect.TypeFor[time.Time]() || v.Type() == reflect.TypeFor[netip.Addr]() || v.Type() == reflect.TypeFor[netip.Prefix]() {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			reach(v.Field(i), tell)
		}
	case reflect.Pointer:
		if !v.IsNil() && v.Type().Elem().Size() > 0 {
			tell(v.Pointer())
			reach(v.Elem(), tell)
		}
	case reflect.Slice:
		if v.Len() > 0 {
			tell(v.Pointer())
		}
		for i := range v.Len() {
			reach(v.Index(i), tell)
		}
	case reflect.Map:
		if !v.IsNil() {
			tell(v.Pointer())
		}
		for it := v.MapRange(); it.Next(); {
			reach(it.Value(), tell)
		}
	}
}
