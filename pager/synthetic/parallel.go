package synthetic

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// parallel calls f for 0 to n-1 from all cores and returns when all are done.
func parallel(n int, f func(i int)) {
	const batch = 64
	workers := min(runtime.GOMAXPROCS(0), (n+batch-1)/batch)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				to := int(next.Add(batch))
				for i := to - batch; i < min(to, n); i++ {
					f(i)
				}
				if to >= n {
					return
				}
			}
		})
	}
	wg.Wait()
}
