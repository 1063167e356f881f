package art

// Check walks everything that an index is made of.
func Check(x *Index) error {
	x.writing.Wait()
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.state.check()
}

// MarkBytes is how long a mark is.
const MarkBytes = markBytes
