package art

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/vfs"
)

// TestForgedMark: a hash that is a mark's frame, behind what a crash tore, makes
// nothing of it durable.
func TestForgedMark(t *testing.T) {
	t.Parallel()
	for name, salt := range map[string]func(l *log) uint32{
		"guessed": func(l *log) uint32 { return saltOf(l.generation) },
		"known":   func(l *log) uint32 { return l.salt },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := vfs.NewDisk()
			p := d.Process()
			x, err := Open(t.Context(), "disk", Options{FS: p})
			require.NoError(t, err)
			require.NoError(t, x.Put(t.Context(), ofWorker("flushed")))
			require.NoError(t, x.Flush(t.Context()))
			end, durable := x.log.end, int64(1)<<62
			require.NoError(t, x.Put(t.Context(), ofWorker("torn")))
			if name == "guessed" {
				durable = x.log.end // which is no more than what is before it
			}
			forged := ofWorker("forged")
			forged[0].Hash = string(appendMark(nil, salt(x.log), 0, durable))
			require.NoError(t, x.Put(t.Context(), forged))
			_, err = x.log.f.WriteAt([]byte{0xee}, end+20)
			require.NoError(t, err)
			p.Kill()
			_ = x.Close()
			x, err = Open(t.Context(), "disk", Options{FS: d.Process()})
			require.NoError(t, err)
			require.Equal(t, end, x.opened.TornAt)
			require.Len(t, x.state.workers.ids, 1)
			require.NoError(t, x.Close())
		})
	}
}

// TestLogsHaveSaltsOfTheirOwn: two logs of a generation have other checksums.
func TestLogsHaveSaltsOfTheirOwn(t *testing.T) {
	t.Parallel()
	a, _, err := createLog(vfs.NewDisk().Process(), logHead{generation: 1})
	require.NoError(t, err)
	b, _, err := createLog(vfs.NewDisk().Process(), logHead{generation: 1})
	require.NoError(t, err)
	require.NotEqual(t, a.random, b.random)
	require.NotEqual(t, a.salt, b.salt)
	require.Equal(t, saltOf(1), (&logHead{generation: 1}).salt(), "logs from before")
	require.NoError(t, a.close())
	require.NoError(t, b.close())
}
