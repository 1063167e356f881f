//go:build !cuda

package cuda

import (
	"sync/atomic"
	"time"
)

type sleeper struct{ woken atomic.Bool }

func (s *sleeper) sleep(pause time.Duration) bool {
	if !s.woken.Load() {
		time.Sleep(pause)
	}
	return s.woken.Swap(false)
}

func (s *sleeper) wake() { s.woken.Store(true) }

func (*sleeper) close() {}
