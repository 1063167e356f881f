// Package indextest is the suite that every index.Index passes. A backend's own
// test is a few lines:
//
//	func TestConformance(t *testing.T) {
//		indextest.Run(t, indextest.Config{
//			Open: func(t testing.TB, o index.Options) index.Index { ... },
//		})
//	}
//
// [Traces] replays recorded operations of QuillCache's indexes, [Linearizable]
// checks parallel clients with porcupine, and [Bench] measures. [Model] is the
// reference that the others are compared with; [Stateful] does so with random
// operations.
//
// KVFERRY_SOAK=1 makes the random tests long, KVFERRY_SEED=n repeats the seed that
// a failure has logged, and KVFERRY_GOLDEN_QUILLCACHE names a folder with
// further traces.
package indextest
