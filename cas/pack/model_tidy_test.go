package pack

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/digest"
)

// modelTidy requires that a store, which is open for reading after a collection
// and used by nobody else, holds nothing but what is needed and what the cache
// has.
func modelTidy(t testing.TB, s *Store, needed map[digest.Digest]bool) {
	t.Helper()
	require.NoError(t, s.Check(t.Context(), func(p cas.Problem) { require.NoError(t, p.Err, p.Path) }))
	for b, err := range s.Blobs(t.Context()) {
		require.NoError(t, err)
		_, p, ok := s.st().find(b.Digest)
		require.True(t, ok)
		require.True(t, p.class == cas.Cache || needed[b.Digest], "%v is garbage", b.Digest)
	}
	known := map[string]*packInfo{}
	for _, p := range s.st().packs.all() {
		known[packfile.Path(p.id)] = p
		if p.class == cas.Snapshot { // one blob may be left of a block of 4096 bytes
			room := p.end.Load() - packHeaderBytes
			require.LessOrEqual(t, p.dead(), room/10+p.blobs.Load()*4096, "dead bytes of %d in pack %016x of %d blobs", room, p.id, p.blobs.Load())
		}
	}
	packs, err := s.fs.List(packsDir)
	require.NoError(t, err)
	for _, e := range packs {
		path := packsDir + "/" + e.Name
		require.NotNil(t, known[path], "%s is left over", path)
		require.LessOrEqual(t, e.AllocatedBytes, blocks(known[path].end.Load()), "room of %s", path)
	}
	for dir, most := range map[string]int{logDir: 1, indexDir: 2, streamsDir: 0} {
		list, err := s.fs.List(dir)
		require.NoError(t, err)
		require.LessOrEqual(t, len(list), most, "%s: %v", dir, list)
		for _, e := range list {
			require.False(t, strings.HasSuffix(e.Name, ".new"), "%s/%s", dir, e.Name)
		}
	}
}
