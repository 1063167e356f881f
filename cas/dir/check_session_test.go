package dir_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
)

// TestCheckBesideSessions: sessions that begin and end while a store is checked
// are no leftovers.
func TestCheckBesideSessions(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), dir.Options{})
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				x, err := s.Begin(t.Context(), cas.SessionOptions{})
				if err != nil {
					t.Error(err)
					return
				}
				if err := x.Abort(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 200 {
		require.NoError(t, s.Check(t.Context(), func(p cas.Problem) { t.Errorf("%+v", p) }))
	}
	close(stop)
	wg.Wait()
}
