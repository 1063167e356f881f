package events_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index/events"
)

// A block that was put while there was no room to remember it is removed, though
// there is room again when its removal comes.
func TestIngestRemovesWhatItCouldNotRemember(t *testing.T) {
	t.Parallel()
	x := model(t)
	e := engineA
	e.MaxBlocks = 2
	in := events.NewIngester(x, e)
	ingest(t, in, pack(t, list{1.0, list{offload("CPU", 1, 2)}, 0}))
	ingest(t, in, pack(t, list{2.0, list{store(list{3}, nil, nil), remove("CPU", nil, 1), remove("GPU", nil, 3)}, 0}))
	require.Equal(t, []string{"a cpu_dram 2< #1 g0 t0 none"}, briefs(t, x))
	require.EqualValues(t, 1, in.Stats().Unremembered)
}
