//go:build cuda

package cuda_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cuda"
)

// TestSleeperIsWoken sleeps longer than any test lasts, unless it is woken before
// or meanwhile.
func TestSleeperIsWoken(t *testing.T) {
	var s cuda.Sleeper
	t.Cleanup(s.Close)
	s.Wake()
	s.Wake()
	require.True(t, s.Sleep(time.Hour), "before")
	asleep, woken := make(chan struct{}), make(chan bool)
	go func() {
		defer close(woken)
		for range asleep {
			woken <- s.Sleep(time.Hour)
		}
	}()
	for range 500 {
		asleep <- struct{}{}
		s.Wake()
		require.True(t, <-woken)
	}
	close(asleep)
	<-woken
}

// TestSleeperWakesByItself sleeps, and again with another timer.
func TestSleeperWakesByItself(t *testing.T) {
	var s cuda.Sleeper
	for range 2 {
		begin := time.Now()
		require.False(t, s.Sleep(50*time.Microsecond))
		require.GreaterOrEqual(t, time.Since(begin), 50*time.Microsecond)
		s.Close()
	}
	t.Cleanup(s.Close)
	require.Zero(t, testing.AllocsPerRun(100, func() { s.Sleep(time.Microsecond) }), "the timer is kept")
}

// BenchmarkSleeper tells how late 20 microseconds are over.
func BenchmarkSleeper(b *testing.B) {
	var s cuda.Sleeper
	b.Cleanup(s.Close)
	b.ReportAllocs()
	for b.Loop() {
		s.Sleep(20 * time.Microsecond)
	}
}
