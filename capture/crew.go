package capture

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"
)

// crew is an error group in which a panic of a goroutine, as a caller's pager,
// store or function may raise, goes on in the caller of Wait: there somebody
// resumes the engine and aborts the session, while a panic that leaves its
// goroutine ends the process.
type crew struct {
	*errgroup.Group
	mu    sync.Mutex
	crash any
}

func newCrew(ctx context.Context) (*crew, context.Context) {
	eg, ctx := errgroup.WithContext(ctx)
	return &crew{Group: eg}, ctx
}

// Go runs f. The first error, or panic, cancels the group's context.
func (c *crew) Go(f func() error) {
	c.Group.Go(func() (err error) {
		defer func() {
			if r := recover(); r != nil {
				c.mu.Lock()
				if c.crash == nil {
					c.crash = r
				}
				c.mu.Unlock()
				err = fmt.Errorf("panic: %v", r)
			}
		}()
		return f()
	})
}

// Wait waits for all goroutines and returns the first error.
func (c *crew) Wait() error {
	err := c.Group.Wait()
	if c.crash != nil {
		panic(c.crash)
	}
	return err
}
