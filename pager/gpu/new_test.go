package gpu

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/kernels"
	"github.com/kvferry/kvferry/pager"
)

// nobody is an Engine that is never asked.
type nobody struct{ Engine }

func TestNewRefusesBeforeItTouchesADevice(t *testing.T) {
	t.Parallel()
	l := oneRun(planMeta(t), 4)
	whole := func() Config {
		return Config{Device: new(cuda.Device), Kernels: new(kernels.Set), Layout: l, Regions: []cuda.Ptr{4096}, Engine: nobody{}}
	}
	other := pager.Fingerprint{1}
	for name, c := range map[string]struct {
		spoil func(*Config)
		want  error
	}{
		"no device":    {func(c *Config) { c.Device = nil }, kvferry.ErrNoDevice},
		"no kernels":   {func(c *Config) { c.Kernels = nil }, kvferry.ErrInvalid},
		"no layout":    {func(c *Config) { c.Layout = nil }, kvferry.ErrInvalid},
		"no engine":    {func(c *Config) { c.Engine = nil }, kvferry.ErrInvalid},
		"no regions":   {func(c *Config) { c.Regions = nil }, kvferry.ErrInvalid},
		"region at 0":  {func(c *Config) { c.Regions = []cuda.Ptr{0} }, kvferry.ErrInvalid},
		"fingerprint":  {func(c *Config) { c.Fingerprint = &other }, kvferry.ErrLayoutMismatch},
		"paths":        {func(c *Config) { c.Paths = &Paths{Out: []Rule{{}}} }, kvferry.ErrInvalid},
		"time-out":     {func(c *Config) { c.DrainTimeout = -1 }, kvferry.ErrInvalid},
		"blocks":       {func(c *Config) { c.Blocks = -1 }, kvferry.ErrInvalid},
		"coders":       {func(c *Config) { c.Coders = -1 }, kvferry.ErrInvalid},
		"many coders":  {func(c *Config) { c.Coders = maxCoders + 1 }, kvferry.ErrInvalid},
		"link":         {func(c *Config) { c.Link = LinkPlanes + 1 }, kvferry.ErrInvalid},
		"many streams": {func(c *Config) { c.Streams = make([]uintptr, maxStreams+1) }, kvferry.ErrInvalid},
		"bad layout": {func(c *Config) {
			bad := *l
			bad.Pages++
			c.Layout = &bad
		}, kvferry.ErrInvalid},
	} {
		cfg := whole()
		c.spoil(&cfg)
		p, err := New(cfg)
		require.ErrorIs(t, err, c.want, name)
		require.Nil(t, p, name)
	}
}

func TestWhatTheDeviceTellsOfChangesIsChecked(t *testing.T) {
	t.Parallel()
	meta := func(number uint32, indices ...uint32) []byte {
		b := make([]byte, metaHead)
		binary.LittleEndian.PutUint32(b, number)
		for _, i := range indices {
			b = binary.LittleEndian.AppendUint32(b, i)
		}
		return b
	}
	n, err := changedOf(meta(2, 0, 4, 9), 5)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	for _, bad := range [][]byte{meta(6, 0, 1, 2, 3, 4), meta(1, 5), meta(2, 3, 3), meta(2, 3, 1), meta(^uint32(0))} {
		_, err := changedOf(bad, 5)
		require.ErrorIs(t, err, kvferry.ErrCorrupt)
	}
}

func TestWantedDigestsOfAnotherKindAreNothing(t *testing.T) {
	t.Parallel()
	sum := [32]byte{1, 2, 3}
	k := &sums{algorithm: digest.BLAKE3}
	dst := make([]byte, 3*kernels.DigestBytes)
	for i := range dst {
		dst[i] = 0xEE
	}
	k.putWant(dst, []digest.Digest{{}, digest.New(digest.BLAKE3, sum), digest.New(digest.SHA256, sum)})
	require.Equal(t, make([]byte, 32), dst[:32])
	require.Equal(t, sum[:], dst[32:64])
	require.Equal(t, make([]byte, 32), dst[64:])
}
