package configdrive

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
)

func sample() map[string][]byte {
	files := map[string][]byte{
		"openstack/latest/meta_data.json":        []byte(`{"hostname":"vm1"}`),
		"openstack/latest/user_data":             {0, 1, 0xff},
		"openstack/2012-08-10/meta_data.json":    []byte("{}"),
		"ec2/2009-04-04/a rather long name.":     {},
		"Grüße/größer als 64 Zeichen wird's nie": []byte("ä"),
		"same/name-a": []byte("1"),
		"same/name+a": []byte("2"),
		"same/NAME_A": []byte("3"),
		strings.Repeat("d/", maxDepth-1) + "deep": []byte("deep"),
	}
	for i := range 200 { // directories of several sectors
		files[fmt.Sprintf("openstack/content/%04d", i)] = bytes.Repeat([]byte{byte(i)}, 50*i)
	}
	return files
}

func TestReadBack(t *testing.T) {
	t.Parallel()
	want := sample()
	img, err := Image(Label, want)
	require.NoError(t, err)
	require.Equal(t, Label, string(img[32808:32808+8]))
	require.Zero(t, len(img)%sector)
	for tree, name := range []string{"rock ridge", "joliet"} {
		got := read(t, img, tree)
		require.ElementsMatch(t, slices.Collect(maps.Keys(want)), slices.Collect(maps.Keys(got)), name)
		for p, data := range want {
			require.True(t, bytes.Equal(data, got[p]), "%s: %s", name, p)
		}
	}
}

func TestDeterministic(t *testing.T) {
	t.Parallel()
	a, err := Image(Label, sample())
	require.NoError(t, err)
	for range 5 {
		b, err := Image(Label, sample())
		require.NoError(t, err)
		require.Equal(t, sha256.Sum256(a), sha256.Sum256(b))
	}
	small, err := Image(Label, map[string][]byte{"openstack/latest/meta_data.json": []byte("{}")})
	require.NoError(t, err)
	sum := sha256.Sum256(small)
	require.Equal(t, "22e49f54deb150c0641de2bd44fbe6ad1361c2f7410f6d08b8beab7bb2032932", hex.EncodeToString(sum[:]),
		"the bytes of a drive have changed; if that is meant, check the new ones with isoinfo and a guest")
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"", "/abs", "a//b", "../x", "a/./b", "a/", "x*", "a:b", `back\slash`, "new\nline", "\xff",
		strings.Repeat("x", maxName+1), strings.Repeat("d/", maxDepth) + "f"} {
		_, err := Image(Label, map[string][]byte{p: nil})
		require.True(t, fault.Is(err, fault.Invalid), "%q: %v", p, err)
	}
	_, err := Image(Label, map[string][]byte{"a": nil, "a/b": nil})
	require.True(t, fault.Is(err, fault.Invalid), "%v", err)
	for _, label := range []string{"", "a label of too many", "spa ce", "ä"} {
		_, err := Image(label, nil)
		require.True(t, fault.Is(err, fault.Invalid), "%q: %v", label, err)
	}
}

func FuzzImage(f *testing.F) {
	f.Add("openstack/latest/user_data", "openstack/latest", []byte("x"))
	f.Fuzz(func(t *testing.T, p, q string, data []byte) {
		files := map[string][]byte{p: data, q: data}
		img, err := Image(Label, files)
		if err != nil {
			return
		}
		for tree := range 2 {
			got := read(t, img, tree)
			require.Len(t, got, len(files))
			for p := range files {
				require.Equal(t, string(data), string(got[p]))
			}
		}
	})
}

// TestIsoinfo asks a reader that is not ours.
func TestIsoinfo(t *testing.T) {
	t.Parallel()
	isoinfo, err := exec.LookPath("isoinfo")
	if err != nil {
		t.Skip("isoinfo (package genisoimage) is not installed")
	}
	img, err := Image(Label, sample())
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "drive.iso")
	require.NoError(t, os.WriteFile(file, img, 0o600))
	out, err := exec.Command(isoinfo, "-d", "-i", file).CombinedOutput()
	require.NoError(t, err)
	require.Contains(t, string(out), "Volume id: config-2\n")
	require.Contains(t, string(out), "Rock Ridge signatures version 1 found")
	require.Contains(t, string(out), "Joliet with UCS level 3 found")
	for _, names := range []string{"-R", "-J"} {
		out, err := exec.Command(isoinfo, names, "-f", "-i", file).CombinedOutput()
		require.NoError(t, err)
		lines := strings.Split(string(out), "\n")
		require.Contains(t, lines, "/openstack/latest/meta_data.json")
		require.Contains(t, lines, "/openstack/content/0199")
		out, err = exec.Command(isoinfo, names, "-x", "/openstack/latest/meta_data.json", "-i", file).Output()
		require.NoError(t, err)
		require.Equal(t, `{"hostname":"vm1"}`, string(out))
	}
}

// read is a reader of its own, from the descriptors down; it also checks that the path table agrees.
func read(t *testing.T, img []byte, tree int) map[string][]byte {
	t.Helper()
	d := img[(16+tree)*sector:]
	require.Equal(t, "CD001", string(d[1:6]))
	files := map[string][]byte{}
	var dirs []uint32
	var walk func(prefix string, at, size uint32)
	walk = func(prefix string, at, size uint32) {
		dirs = append(dirs, at)
		body := img[at*sector:][:size]
		previous := ""
		for n, i := 0, 0; i < len(body); n++ {
			r := body[i:]
			if r[0] == 0 { // the rest of the sector is empty
				i = (i/sector + 1) * sector
				continue
			}
			r = r[:r[0]]
			i += len(r)
			require.Equal(t, (i-1)/sector, (i-len(r))/sector, "a record crosses a sector")
			at, size := binary.LittleEndian.Uint32(r[2:]), binary.LittleEndian.Uint32(r[10:])
			require.Equal(t, at, binary.BigEndian.Uint32(r[6:]))
			if n < 2 {
				continue
			}
			raw := string(r[33:][:r[32]])
			require.Less(t, previous, raw, "the records are not in order")
			previous = raw
			name := trueName(t, tree, r)
			if r[25]&2 != 0 {
				walk(prefix+name+"/", at, size)
			} else {
				files[prefix+name] = slices.Clone(img[at*sector:][:size])
			}
		}
	}
	walk("", binary.LittleEndian.Uint32(d[156+2:]), binary.LittleEndian.Uint32(d[156+10:]))

	var listed []uint32
	table := img[binary.BigEndian.Uint32(d[148:])*sector:][:binary.LittleEndian.Uint32(d[132:])]
	for len(table) > 0 {
		listed = append(listed, binary.BigEndian.Uint32(table[2:]))
		n := int(table[0])
		table = table[8+n+n%2:]
	}
	require.ElementsMatch(t, dirs, listed, "path table")
	return files
}

func trueName(t *testing.T, tree int, r []byte) string {
	raw := r[33:][:r[32]]
	if tree == joliet {
		var u []uint16
		for i := 0; i < len(raw); i += 2 {
			u = append(u, binary.BigEndian.Uint16(raw[i:]))
		}
		return string(utf16.Decode(u))
	}
	for su := r[(33+len(raw)+1)/2*2:]; len(su) >= 4; su = su[su[2]:] {
		if string(su[:2]) == "NM" {
			return string(su[5:su[2]])
		}
	}
	require.Fail(t, "no Rock Ridge name", "%q", raw)
	return ""
}
