package blocks

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/bench/harness"
)

// fakeStore drives what the programs of the engines have in common with a store
// of its own.
const fakeStore = `import os, sys
sys.path.insert(0, sys.argv.pop(1))
from chunks import arguments, measure
from peerline import leave
print("what a library says while it is loaded")

class Store:
    def __init__(self, home, chunk, chunks):
        self.home, self.prepared = home, False

    def prepare(self, views):
        self.prepared = True

    def put(self, views):
        assert self.prepared
        for i, v in enumerate(views):
            with open(os.path.join(self.home, str(i)), "wb") as f:
                f.write(v)

    def get(self, views):
        for i, v in enumerate(views):
            with open(os.path.join(self.home, str(i)), "rb") as f:
                assert f.readinto(v) == len(v)

class Broken(Store):
    def get(self, views):
        super().get(views)
        views[0][0] ^= 1

class Full(Store):
    def put(self, views):
        raise OSError("no room")

a = arguments("")
for name, make in (("fake", Store), ("broken", Broken), ("full", Full)):
    measure(a, name, name + " 1", "no fsync", make)
leave()
`

// firstRound runs the programs of e once. The test's end frees what it returns.
func firstRound(t *testing.T, e *harness.Env, s *harness.Section) (*engines, []*set) {
	t.Helper()
	sets, err := makeSets(t.Context(), scaleOf(harness.Smoke))
	require.NoError(t, err)
	t.Cleanup(func() { freeSets(sets) })
	x, err := newEngines(e, s, sets)
	require.NoError(t, err)
	t.Cleanup(x.close)
	require.NoError(t, x.round(t.Context()))
	return x, sets
}

// TestEnginesThatFail: what a program did before it failed is not there, what
// others did is.
func TestEnginesThatFail(t *testing.T) {
	e, s := env(t), &harness.Section{}
	program(t, e, "sglang", `test -e "$0.ran" && { echo why >&2; exit 3; }
: >"$0.ran"
echo '{"name": "op=put/size=x/store=sglang", "version": "sglang 1", "unit": "B/s", "value": 9}'
`)
	program(t, e, "lmcache", `echo '{"name": "op=put/size=x/store=lmcache", "version": "lmcache 1", "unit": "B/s", "value": 8}'
`)
	x, _ := firstRound(t, e, s)
	require.Len(t, figures(s), 2)
	require.NoError(t, x.round(t.Context()))
	all := figures(s)
	require.Len(t, all, 1)
	require.Equal(t, []float64{8, 8}, all["op=put/size=x/store=lmcache"].Samples)
	require.Len(t, x.figures, 1)
	require.Contains(t, s.Missing[len(s.Missing)-1], "sglang: failed: ")
	require.NoError(t, x.round(t.Context()), "it is not run again")
}

func TestEnginesProgram(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no Python here to run the programs of the engines")
	}
	lib, err := filepath.Abs("../peers/python")
	require.NoError(t, err)
	e, s := env(t), &harness.Section{}
	script := filepath.Join(e.Peers, "fake.py")
	require.NoError(t, os.WriteFile(script, []byte(fakeStore), 0o600))
	program(t, e, "sglang", `exec "`+python+`" -B "`+script+`" "`+lib+`" "$@"`+"\n")
	x, sets := firstRound(t, e, s)
	all := figures(s)
	for _, c := range sets {
		for _, op := range []string{"put", "put-sync", "get"} {
			f := all["op="+op+"/size="+c.name+"/store=fake"]
			require.NotNil(t, f, s.Missing)
			require.Len(t, f.Samples, 1)
			require.Positive(t, f.Samples[0])
			require.Contains(t, f.Note, "no fsync")
		}
		require.Contains(t, s.Missing, "broken 1: size="+c.name+"/store=broken: ValueError: what was loaded is not what was stored")
		require.Contains(t, s.Missing, "full 1: size="+c.name+"/store=full: OSError: no room")
	}
	require.Len(t, all, 3*len(sets))
	require.Equal(t, []string{"fake 1", "broken 1", "full 1"}, s.Versions)
	left, err := os.ReadDir(x.dir)
	require.NoError(t, err)
	require.Len(t, left, 1) // the data
}
