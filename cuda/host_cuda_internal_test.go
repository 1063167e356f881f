//go:build cuda

package cuda

import (
	"errors"
	"io/fs"
	"math"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
)

func files(all map[string]string) fs.FS {
	f := fstest.MapFS{}
	for name, text := range all {
		f[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return f
}

func TestReadBus(t *testing.T) {
	t.Parallel()
	f := Facts{PCI: "0000:3b:00.0", NUMANode: -1}
	readBus(files(map[string]string{
		"0000:3b:00.0/current_link_speed": "32.0 GT/s PCIe\n",
		"0000:3b:00.0/current_link_width": "16\n",
		"0000:3b:00.0/numa_node":          "1\n",
	}), &f)
	require.Equal(t, Facts{PCI: "0000:3b:00.0", LinkGeneration: 5, LinkWidth: 16, NUMANode: 1}, f)
	for speed, generation := range map[string]int{
		"2.5 GT/s PCIe": 1, "5.0 GT/s PCIe": 2, "8 GT/s": 3, "16.0 GT/s PCIe": 4, "64.0 GT/s PCIe": 6, "Unknown": 0, "": 0,
	} {
		f := Facts{PCI: "x", NUMANode: -1}
		readBus(files(map[string]string{"x/current_link_speed": speed, "x/current_link_width": "0", "x/numa_node": "-1"}), &f)
		require.Equal(t, Facts{PCI: "x", LinkGeneration: generation, NUMANode: -1}, f)
	}
}

func TestCheckRoom(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files map[string]string
		bytes int64
		says  string // "" if there is room
	}{
		"little is not looked at": {map[string]string{"proc/meminfo": "MemAvailable: 1 kB"}, roomFrom - 1, ""},
		"nothing is told":         {nil, 1 << 40, ""},
		"enough":                  {map[string]string{"proc/meminfo": "MemTotal: 9 kB\nMemAvailable: 32768 kB\n"}, 32 << 20, ""},
		"too little":              {map[string]string{"proc/meminfo": "MemTotal: 9 kB\nMemAvailable: 32767 kB\n"}, 32 << 20, "the system has 33553408"},
		"group": {map[string]string{
			"proc/self/cgroup":                   "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max":       "max\n",
			"sys/fs/cgroup/a/memory.max":         "104857600\n",
			"sys/fs/cgroup/a/memory.current":     "100000000\n",
			"sys/fs/cgroup/a/memory.stat":        "anon 1\ninactive_file 5000000\n",
			"sys/fs/cgroup/memory.max":           "900000000\n",
			"sys/fs/cgroup/memory.current":       "0\n",
			"sys/fs/cgroup/a/b/memory.current":   "1\n",
			"sys/fs/cgroup/unrelated/memory.max": "1\n",
		}, 16 << 20, "the control group /a is limited to 104857600, 9857600 are left"},
		"inside a container": {map[string]string{
			"proc/self/cgroup":             "0::/\n",
			"sys/fs/cgroup/memory.max":     "20000000\n",
			"sys/fs/cgroup/memory.current": "30000000\n",
		}, 16 << 20, "the control group / is limited to 20000000, 0 are left"},
		"first version": {map[string]string{
			"proc/self/cgroup": "12:cpu:/c\n7:memory:/d\nnonsense\n",
			"sys/fs/cgroup/memory/d/memory.limit_in_bytes": "20000000\n",
			"sys/fs/cgroup/memory/d/memory.usage_in_bytes": "10000000\n",
			"sys/fs/cgroup/memory/d/memory.stat":           "total_inactive_file 1000\n",
		}, 16 << 20, "the control group /d is limited to 20000000, 10001000 are left"},
		"first version without a limit": {map[string]string{
			"proc/self/cgroup":                           "7:memory:/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
			"sys/fs/cgroup/memory/memory.usage_in_bytes": "1\n",
		}, 16 << 20, ""},
	} {
		err := checkRoom(files(c.files), c.bytes)
		if c.says == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, kvferry.ErrOutOfMemory, name)
		require.ErrorContains(t, err, c.says, name)
	}
	require.Equal(t, int64(math.MaxInt64), availableBytes(files(nil)))
	require.Contains(t, limitsText(files(nil)), "limit of locked memory: ")
}

func TestDiagnose(t *testing.T) {
	t.Parallel()
	denied := func(string) error { return errors.New("permission denied") }
	granted := func(string) error { return nil }
	control := map[string]string{"dev/nvidiactl": ""}
	for name, c := range map[string]struct {
		files map[string]string
		may   func(string) error
		code  int
		says  string
	}{
		"no module":         {nil, granted, 100, "kernel module is not loaded"},
		"module, no device": {map[string]string{"proc/driver/nvidia/version": "NVRM version: 1"}, granted, 100, "/dev/nvidiactl is missing: start the container with --gpus all"},
		"denied":            {control, denied, 999, "may not use /dev/nvidiactl (permission denied)"},
		"allowed":           {control, granted, 100, ""},
		"subsystem":         {map[string]string{"dev/dxg": ""}, granted, 100, ""},
		"mismatch":          {nil, denied, 803, ""},
		"compatibility":     {nil, denied, 804, ""},
		"stub":              {nil, denied, 34, ""},
	} {
		got := diagnose(files(c.files), c.may, c.code)
		if c.says == "" {
			require.Empty(t, got, name)
			continue
		}
		require.Contains(t, got, c.says, name)
	}
}

func TestSpans(t *testing.T) {
	t.Parallel()
	require.Equal(t, []span{{0x1000, 0x3000}}, span{0x1000, 0x3000}.chunks(0))
	require.Equal(t, []span{{0x1010, 0x2000}, {0x2000, 0x3000}, {0x3000, 0x3001}}, span{0x1010, 0x3001}.chunks(0x1000))
	require.Equal(t, span{0x1000, 0x4000}, span{0x1010, 0x3001}.pages())
	var table pinTable
	require.False(t, table.covers(span{1, 2}))
	require.True(t, table.reserve(span{0x2000, 0x4000}))
	for _, s := range []span{{0x2000, 0x4000}, {0x1000, 0x3000}, {0x3000, 0x5000}, {0x1000, 0x9000}, {0x2000, 0x3000}, {0x3000, 0x4000}} {
		require.False(t, table.reserve(s), s)
	}
	require.True(t, table.reserve(span{0x1000, 0x2000}))
	require.True(t, table.reserve(span{0x4000, 0x5000}))
	table.unreserve(span{0x2000, 0x4000})
	require.True(t, table.reserve(span{0x3000, 0x4000}))
	table.publish([]span{{0x3000, 0x3800}, {0x1000, 0x2000}})
	require.True(t, table.covers(span{0x3000, 0x3800}))
	require.False(t, table.covers(span{0x3000, 0x3801}))
	require.False(t, table.covers(span{0x2fff, 0x3001}))
	require.True(t, table.covers(span{0x1fff, 0x2000}))
	base, bytes := table.around(0x3001)
	require.Equal(t, Ptr(0x3000), base)
	require.Equal(t, int64(0x800), bytes)
	table.hide([]span{{0x3000, 0x3800}})
	require.False(t, table.covers(span{0x3000, 0x3001}))
	require.True(t, table.covers(span{0x1000, 0x1001}))
}
