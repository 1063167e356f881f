package events_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/events"
)

// damaged is an index of which so many writes find damage.
type damaged struct {
	index.Index
	finds atomic.Int64
}

func (d *damaged) Put(ctx context.Context, rs []index.Record) error {
	if d.finds.Add(-1) >= 0 {
		return fmt.Errorf("test: a page: %w", kvferry.ErrCorrupt)
	}
	return d.Index.Put(ctx, rs)
}

// Damage of the index is not taken for a batch that cannot be read: it is counted,
// and clears nothing.
func TestSubscriberCountsDamageOfTheIndex(t *testing.T) {
	t.Parallel()
	p := newPublisher(t)
	x := &damaged{Index: model(t)}
	s := subscribe(t, x, events.Options{Sources: []events.Source{{Engine: engineA, Endpoint: p.endpoint()}}})
	p.awaitSubscriber()
	one, two := stored(t, 1, nil, 1, 2), stored(t, 2, 2, 3)
	p.publish(one)
	settled(t, s, x, 1, ingested(t, one))
	x.finds.Store(3)
	p.publish(two)
	settled(t, s, x, 2, ingested(t, one, two))
	st := s.Stats()
	require.EqualValues(t, 3, st.IndexErrors)
	require.Zero(t, st.WorkersCleared+st.DecodeErrors)
}
