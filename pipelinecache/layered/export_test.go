package layered

// Busy returns how many fingerprints have a flight or a put.
func (s *Store) Busy() int {
	n := 0
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		n += len(sh.busy)
		sh.mu.Unlock()
	}
	return n
}
