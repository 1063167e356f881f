package events_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index/events"
)

// Events with an unknown medium are counted, not their blocks.
func TestUnknownMediumsAreEvents(t *testing.T) {
	t.Parallel()
	many := list{}
	for i := range 1000 {
		many = append(many, i)
	}
	x := model(t)
	in := events.NewIngester(x, engineA)
	ingest(t, in, pack(t, list{1.0, list{store(many, nil, dict{"medium": "TAPE"}), remove("TAPE", dict{"block_hashes": list{}}), remove("TAPE", nil, 1)}, 0}))
	require.EqualValues(t, 3, in.Stats().UnknownMediums)
	require.Empty(t, records(t, x))
	b, err := events.ParseJSON([]byte(`{"engine_id":"a","events":[{"type":"block_removed","block_hashes":[],"medium":"TAPE"}]}`))
	require.NoError(t, err)
	intake := events.NewIntake(x, []events.Endpoint{{ID: "a", Model: "m"}})
	_, err = intake.Ingest(t.Context(), b)
	require.NoError(t, err)
	require.EqualValues(t, 1, intake.Stats().UnknownMediums)
}
