//go:build cuda

package cuda

import (
	"sync"
	"time"
)

type sleeper struct {
	mu     sync.Mutex
	napper *napper // nil before the first sleep
	asleep bool
	woken  bool
}

func (s *sleeper) sleep(pause time.Duration) bool {
	if n, armed := s.lie(pause); armed {
		n.await()
	} else if n != nil {
		time.Sleep(pause)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	woken := s.woken
	s.asleep, s.woken = false, false
	return woken
}

// lie sets the timer, and returns no napper if there is no reason to sleep.
func (s *sleeper) lie(pause time.Duration) (n *napper, armed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.woken {
		return nil, false
	}
	if s.napper == nil {
		s.napper = newNapper()
	}
	s.asleep = s.napper.arm(pause)
	return s.napper, s.asleep
}

// wake lets the timer of a sleeper run out at once.
func (s *sleeper) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asleep && !s.woken {
		s.napper.arm(time.Nanosecond)
	}
	s.woken = true
}

func (s *sleeper) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.napper != nil {
		s.napper.close()
		s.napper = nil
	}
}
