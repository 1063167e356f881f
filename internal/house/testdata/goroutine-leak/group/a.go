// Package group starts one through a WaitGroup.
package group

import "sync"

func f() {
	var wg sync.WaitGroup
	wg.Go(f)
}
