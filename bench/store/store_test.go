package store

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/digest"
)

// TestMain lets the test binary be the child of a run, too.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "store" && os.Args[2] == "child" {
		if err := Child(context.Background(), os.Args[3:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// TestSmoke runs every measurement on a few megabytes, so that the suite works
// when it is needed. What it measures is not looked at.
func TestSmoke(t *testing.T) {
	t.Parallel()
	for _, name := range StoreNames() {
		t.Run("store="+name, func(t *testing.T) {
			t.Parallel()
			e := &harness.Env{Dir: t.TempDir(), Rounds: 1, Scale: harness.Smoke, Self: []string{os.Args[0]}}
			r, err := harness.Run(t.Context(), e, []harness.Suite{SuiteOf(&Options{Store: name})}, nil)
			require.NoError(t, err)
			require.Len(t, r.Sections, 1)
			require.Len(t, r.Sections[0].Parts, len(PartNames()))
			for _, p := range r.Sections[0].Parts {
				require.NotEmpty(t, p.Figures, p.Name)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{{Store: "tape"}, {Only: []string{"write", "rite"}}} {
		require.ErrorIs(t, o.Validate(), kvferry.ErrInvalid)
		err := SuiteOf(&o).Run(t.Context(), &harness.Env{}, &harness.Section{})
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
	o := Options{Store: "dir", Only: PartNames()}
	require.NoError(t, o.Validate())
	for _, bad := range [][]string{nil, {"{"}, {`{"store":"tape"}`}} {
		require.ErrorIs(t, Child(t.Context(), bad, os.Stdout), kvferry.ErrInvalid, "%q", bad)
	}
}

// TestPagesStayRaw holds the data against what the goals presume: no store
// gains by compressing it, and no two blobs are alike.
func TestPagesStayRaw(t *testing.T) {
	p := &pages{size: 176 * kiB, count: 40, seed: 1, pool: newPool(4 * miB)}
	var enc codec.Encoder
	seen := make(map[digest.Digest]bool)
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	require.NoError(t, err)
	for i := range p.count {
		plain := p.blob(i)
		f, err := enc.Encode(codec.Hint{}, plain)
		require.NoError(t, err)
		require.Equal(t, codec.Raw, f.Codec())
		seen[h.Sum(plain)] = true
	}
	require.Len(t, seen, p.count)
	require.NotEqual(t, p.pool[:miB][8:], p.pool[miB : 2*miB][8:])
}

func TestLists(t *testing.T) {
	var blobs []digest.Digest
	for i := range uint64(5) {
		blobs = append(blobs, madeUp(i))
	}
	got, err := decodeList(encodeList(blobs))
	require.NoError(t, err)
	require.Equal(t, blobs, got)
	for _, bad := range [][]byte{nil, make([]byte, 7), encodeList(blobs)[:40], append(encodeList(blobs), 0)} {
		_, err := decodeList(bad)
		require.Error(t, err)
	}
}

func TestNames(t *testing.T) {
	require.Equal(t, "by=fio-psync/block=176KiB/depth=1/jobs=2", fioVariant{"psync", 176 * kiB, 1, 2}.String())
	require.Equal(t, "by=pack/size=1MiB", (&bench{store: backends()[0]}).by(miB))
}
