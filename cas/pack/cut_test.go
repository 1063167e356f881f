package pack

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/vfs"
)

// TestCutAndGrown cuts every file off at every sector, and makes it longer.
func TestCutAndGrown(t *testing.T) {
	t.Parallel()
	r := buildRuin(t, true)
	r.most = len(r.plain)
	counts := map[string]int{}
	for name, b := range contentOf(t, r.disk) {
		end := len(bytes.TrimRight([]byte(b), "\x00"))
		for n := 0; n < len(b); n += slow * vfs.SectorBytes {
			if !faultSoak() && n > end+2048 && n%(64<<10) != 0 {
				continue // zeros behind zeros
			}
			r.become(t, counts, name, fmt.Sprintf("%s cut off at %d", name, n), []byte(b)[:n])
		}
		noise := make([]byte, 5000)
		for i := range noise {
			noise[i] = byte(rand.Uint32())
		}
		for _, more := range [][]byte{make([]byte, 1), make([]byte, 4096), noise, noise[:100], []byte(b)} {
			r.become(t, counts, name, fmt.Sprintf("%s and %d bytes", name, len(more)), append([]byte(b), more...))
		}
	}
	t.Logf("files cut off and made longer: %v", counts)
}

func (r *ruin) become(t *testing.T, counts map[string]int, name, what string, b []byte) {
	t.Helper()
	d := r.disk.Snapshot()
	overwrite(t, d, name, b)
	counts[r.judged(t, d, what).String()]++
}

// TestFilesGoneOrExchanged removes, copies, exchanges and empties files.
func TestFilesGoneOrExchanged(t *testing.T) {
	t.Parallel()
	r := buildRuin(t, true)
	r.most = len(r.plain)
	counts := map[string]int{}
	all := contentOf(t, r.disk)
	pairs := 0
	for name, b := range all {
		d := r.disk.Snapshot()
		require.NoError(t, d.Process().Remove(name))
		require.Equal(t, told, r.judged(t, d, name+" is gone"))
		r.become(t, counts, name, name+" is zeros", make([]byte, len(b)))
		for other, c := range all {
			if pairs++; pairs%slow != 0 {
				continue
			}
			r.become(t, counts, name, name+" is "+other, []byte(c))
			d := r.disk.Snapshot()
			overwrite(t, d, name, []byte(c))
			overwrite(t, d, other, []byte(b))
			counts[r.judged(t, d, name+" exchanged for "+other).String()]++
		}
	}
	for _, copied := range []struct{ from, to string }{
		{"packs/*.pack", "packs/0000000000000001.pack"}, {"packs/*.pack", "packs/7000000000000001.pack"},
		{"index/*.idx", "index/0000000000000001.idx"}, {"index/*.idx", "index/0000000000000099.idx"},
		{"log/*.log", "log/0000000000000001.log"}, {"log/*.log", "log/0000000000000099.log"}, {"log/*.log", "log/0000000000000099.new"},
	} {
		d := r.disk.Snapshot()
		overwrite(t, d, copied.to, []byte(all[files(d, copied.from)[0]]))
		counts[r.judged(t, d, copied.from+" copied to "+copied.to).String()]++
	}
	t.Logf("files gone, copied and exchanged: %v", counts)
}

// TestOlderFiles puts files back as they were some time before.
func TestOlderFiles(t *testing.T) {
	t.Parallel()
	r := buildRuin(t, true)
	r.most = len(r.plain)
	before := contentOf(t, r.disk)
	s, err := Open("ruin", ruinOptions(r.disk.Process()))
	require.NoError(t, err)
	r.commit(t, s, "later", 4, nil, "later")
	r.entries, err = s.Catalog().Entries(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.Close())
	counts := map[string]int{}
	for name, b := range before {
		if name[:3] != "log" { // a log of before is a store of before
			r.become(t, counts, name, name+" is older", []byte(b))
		}
	}
	t.Logf("files as they were before: %v", counts)
}
