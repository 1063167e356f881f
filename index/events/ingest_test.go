package events_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index/events"
	"github.com/kvferry/kvferry/index/events/msg"
)

func ingest(t testing.TB, in *events.Ingester, payloads ...[]byte) {
	t.Helper()
	var b msg.Batch
	for _, p := range payloads {
		require.NoError(t, b.Decode(p))
		require.NoError(t, in.Ingest(t.Context(), &b))
		require.NoError(t, in.Flush(t.Context()))
	}
}
