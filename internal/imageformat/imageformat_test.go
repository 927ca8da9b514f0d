package imageformat_test

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/imageformat"
)

// inspect writes data in pieces of n bytes.
func inspect(data []byte, n int) (imageformat.Info, error) {
	var i imageformat.Inspector
	for len(data) > 0 {
		k := min(n, len(data))
		if _, err := i.Write(data[:k]); err != nil {
			_, last := i.Finish()
			if last != err {
				panic("Write and Finish differ")
			}
			return imageformat.Info{}, err
		}
		data = data[k:]
	}
	return i.Finish()
}

// put returns a copy of data, long enough, with bytes changed at an offset.
func put(data []byte, at int, with string) []byte {
	out := make([]byte, max(len(data), at+len(with)))
	copy(out, data)
	copy(out[at:], with)
	return out
}

func be32(v uint32) string { return string(binary.BigEndian.AppendUint32(nil, v)) }
func be64(v uint64) string { return string(binary.BigEndian.AppendUint64(nil, v)) }
func le16(v uint16) string { return string(binary.LittleEndian.AppendUint16(nil, v)) }
func le32(v uint32) string { return string(binary.LittleEndian.AppendUint32(nil, v)) }
func le64(v uint64) string { return string(binary.LittleEndian.AppendUint64(nil, v)) }

const gib = 1 << 30

func qcow2() []byte {
	h := put(make([]byte, 70000), 0, "QFI\xfb"+be32(3))
	h = put(h, 24, be64(gib))
	return put(h, 100, be32(104)+be32(0x6803f857)+be32(5)+"abcde\x00\x00\x00")
}

func vmdk() []byte {
	h := put(make([]byte, 70000), 0, "KDMV"+le32(1))
	h = put(h, 12, le64(gib/512))
	h = put(h, 28, le64(1)+le64(20))
	return put(h, 512, "# Disk DescriptorFile\nparentCID=ffffffff\ncreateType=\"streamOptimized\"\n")
}

func vdi() []byte {
	h := put(make([]byte, 4096), 0, "<<< Oracle VM VirtualBox Disk Image >>>\n")
	h = put(h, 0x40, "\x7f\x10\xda\xbe")
	h = put(h, 0x4c, le32(1))
	return put(h, 0x170, le64(gib))
}

func footer(kind uint32) []byte {
	return put(put(put(make([]byte, 512), 0, "conectix"), 48, be64(gib)), 60, be32(kind))
}

func vhdx() []byte {
	h := put(make([]byte, 3<<20), 0, "vhdxfile")
	h = put(h, 192<<10, "regi....\x01\x00\x00\x00....\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e"+le64(2<<20)+le32(1<<20))
	h = put(h, 2<<20, "metadata\x00\x00"+le16(2))
	h = put(h, 2<<20+32, "\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b"+le32(65536)+le32(8))
	h = put(h, 2<<20+64, "\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8"+le32(65544)+le32(8))
	return put(h, 2<<20+65544, le64(gib))
}

func iso() []byte {
	h := put(make([]byte, 70000), 0x8000, "\x01CD001\x01")
	return put(put(h, 0x8050, le32(gib/2048)), 0x8080, le16(2048))
}

func qed() []byte { return put(put(make([]byte, 4096), 0, "QED\x00"), 48, le64(gib)) }

func TestFormats(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		data []byte
		want imageformat.Info
	}{
		"empty":       {nil, imageformat.Info{Format: "raw"}},
		"short":       {[]byte("boot me"), imageformat.Info{Format: "raw", VirtualBytes: 7}},
		"raw":         {make([]byte, 200000), imageformat.Info{Format: "raw", VirtualBytes: 200000}},
		"qcow2":       {qcow2(), imageformat.Info{Format: "qcow2", VirtualBytes: gib}},
		"qcow2 v2":    {put(put(make([]byte, 512), 0, "QFI\xfb"+be32(2)), 24, be64(gib)), imageformat.Info{Format: "qcow2", VirtualBytes: gib}},
		"qed":         {qed(), imageformat.Info{Format: "qed", VirtualBytes: gib}},
		"vmdk":        {vmdk(), imageformat.Info{Format: "vmdk", VirtualBytes: gib}},
		"vdi":         {vdi(), imageformat.Info{Format: "vdi", VirtualBytes: gib}},
		"vhd dynamic": {put(footer(3), 100000, "x"), imageformat.Info{Format: "vhd", VirtualBytes: gib}},
		"vhd fixed":   {append(make([]byte, 100000), footer(2)...), imageformat.Info{Format: "vhd", VirtualBytes: gib}},
		"vhdx":        {vhdx(), imageformat.Info{Format: "vhdx", VirtualBytes: gib}},
		"iso":         {iso(), imageformat.Info{Format: "iso", VirtualBytes: gib}},
		"hybrid iso":  {put(iso(), 510, "\x55\xaa"), imageformat.Info{Format: "iso", VirtualBytes: gib}},
	} {
		for _, n := range []int{1, 511, 65536, 1 << 24} {
			if n == 1 && len(c.data) > 1<<20 {
				continue
			}
			got, err := inspect(c.data, n)
			require.NoError(t, err, "%s in pieces of %d", name, n)
			require.Equal(t, c.want, got, "%s in pieces of %d", name, n)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"qcow1":              {put(qcow2(), 4, be32(1)), "version 1"},
		"backing file":       {put(qcow2(), 8, be64(512)+be32(11)), "backing file"},
		"backing name":       {put(qcow2(), 16, be32(11)), "backing file"},
		"data file bit":      {put(qcow2(), 72, be64(4)), "data is in another file"},
		"unknown feature":    {put(qcow2(), 72, be64(1<<40)), "features that are not known"},
		"backing extension":  {put(qcow2(), 120, be32(0xe2792aca)+be32(5)), "names another file"},
		"data file name":     {put(qcow2(), 120, be32(0x44415441)+be32(5)), "names another file"},
		"qcow2 header":       {put(qcow2(), 100, be32(8)), "claims 8 bytes"},
		"qcow2 size":         {put(qcow2(), 24, be64(1<<63)), "out of range"},
		"qcow2 cut":          {qcow2()[:80], "shorter than its header"},
		"qed backing":        {put(qed(), 16, le64(1)), "backing file"},
		"vmdk descriptor":    {[]byte("# Disk DescriptorFile\nRW 1 FLAT \"/etc/passwd\" 0\n"), "names other files"},
		"vmdk flat":          {put(vmdk(), 512+55, "monolithicFlat\"\n"), "type is"},
		"vmdk parent":        {put(vmdk(), 512, "# Disk DescriptorFile\nparentCID=12345678\n"), "parent"},
		"vmdk hint":          {put(vmdk(), 512, "# Disk DescriptorFile\nparentFileNameHint=\"/x\"\n"), "parent"},
		"vmdk no descriptor": {put(vmdk(), 28, le64(0)), "no descriptor"},
		"vmdk far":           {put(vmdk(), 28, le64(1<<60)), "not at the beginning"},
		"vmdk size":          {put(vmdk(), 12, le64(1<<62)), "out of range"},
		"vmdk esx":           {[]byte("COWD and so on"), "ESX"},
		"vdi difference":     {put(vdi(), 0x4c, le32(4)), "type 4"},
		"vhd difference":     {footer(4), "type 4"},
		"vhdx parent":        {put(vhdx(), 2<<20+65540, le32(2)), "parent"},
		"vhdx no metadata":   {put(vhdx(), 192<<10+16, "x"), "no metadata"},
		"vhdx far":           {put(vhdx(), 192<<10+32, le64(1<<40)), "too far"},
		"vhdx cut":           {vhdx()[:1<<20], "shorter"},
		"two at once":        {put(iso(), 0, "QFI\xfb"+be32(3)), "at once"},
	} {
		_, err := inspect(c.data, 4096)
		require.True(t, fault.Is(err, fault.Invalid), "%s: %v", name, err)
		require.ErrorContains(t, err, c.want, name)
	}
}

func TestRefusedEarly(t *testing.T) {
	t.Parallel()
	var i imageformat.Inspector
	_, err := i.Write(put(qcow2(), 8, be64(512)))
	require.Error(t, err)
	_, err = i.Write([]byte("more"))
	require.Error(t, err)
}

// TestQemuImg compares with what qemu-img makes, where there is one.
func TestQemuImg(t *testing.T) {
	t.Parallel()
	tool, err := exec.LookPath("qemu-img")
	if err != nil {
		t.Skip("qemu-img is not installed")
	}
	dir := t.TempDir()
	for _, c := range []struct{ format, ours string }{
		{"qcow2", "qcow2"}, {"vmdk", "vmdk"}, {"vdi", "vdi"}, {"vpc", "vhd"}, {"vhdx", "vhdx"}, {"qed", "qed"}, {"raw", "raw"},
	} {
		file := filepath.Join(dir, c.format)
		out, err := exec.Command(tool, "create", "-q", "-f", c.format, file, "64M").CombinedOutput()
		require.NoError(t, err, string(out))
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		got, err := inspect(data, 1<<16)
		require.NoError(t, err, c.format)
		require.Equal(t, c.ours, got.Format)
		require.InDelta(t, 64<<20, got.VirtualBytes, 1<<20, c.format) // vpc rounds to cylinders
	}
	out, err := exec.Command(tool, "create", "-q", "-f", "qcow2", "-b", "raw", "-F", "raw", filepath.Join(dir, "overlay")).CombinedOutput()
	require.NoError(t, err, string(out))
	data, err := os.ReadFile(filepath.Join(dir, "overlay"))
	require.NoError(t, err)
	_, err = inspect(data, 1<<16)
	require.ErrorContains(t, err, "backing file")
}

func FuzzInspector(f *testing.F) {
	for _, data := range [][]byte{qcow2()[:512], vmdk()[:4096], vdi(), footer(3), iso()[:0x8800], qed()} {
		f.Add(data, uint16(512))
	}
	f.Fuzz(func(t *testing.T, data []byte, n uint16) {
		whole, err1 := inspect(data, max(1, len(data)))
		pieces, err2 := inspect(data, int(n)+1)
		require.Equal(t, whole, pieces)
		require.Equal(t, err1 == nil, err2 == nil)
		if err1 != nil {
			require.True(t, fault.Is(err1, fault.Invalid), err1)
			return
		}
		require.GreaterOrEqual(t, whole.VirtualBytes, int64(0))
		if whole.Format == imageformat.Raw {
			require.EqualValues(t, len(data), whole.VirtualBytes)
		}
	})
}

func FuzzVHDX(f *testing.F) {
	f.Add([]byte("regi....\x01\x00\x00\x00...."), []byte("metadata"))
	f.Fuzz(func(t *testing.T, table, metadata []byte) {
		data := put(put(vhdx(), 192<<10, string(table[:min(len(table), 64<<10)])), 2<<20, string(metadata[:min(len(metadata), 1<<20)]))
		_, _, _ = imageformat.Head(data)
	})
}
