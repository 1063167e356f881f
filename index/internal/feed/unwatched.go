package feed

// AddUnwatched numbers a change if none is kept for watchers, and reports whether it
// did. Who finds costly what only watchers are told asks for it first.
func (f *Feed) AddUnwatched() bool {
	for {
		word := f.word.Load()
		if word&watched != 0 {
			return false
		}
		if f.word.CompareAndSwap(word, word+2) {
			return true
		}
	}
}
