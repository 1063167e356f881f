package index

import "context"

// Joiner is what an index has besides that several processes feed, in which
// workers have leases. Who feeds it asks for it, and does with Announce where it
// is missing:
//
//	j, ok := x.(index.Joiner)
//
// Two that follow the events of one worker cannot know which incarnation the other
// has announced, and to announce another one removes what that one has put. So they
// join: the first begins the worker's life, the second takes part in it.
type Joiner interface {
	// Join announces a worker unless it lives already, and returns the incarnation
	// that holds. was is the incarnation whose end the caller has seen, 0 if it
	// has seen none: a worker that lives in any other incarnation than that goes on
	// living, and nothing is removed; else Join is as Announce with incarnation. From
	// then on the worker's lease is renewed here, where leases are renewed.
	Join(ctx context.Context, worker string, was, incarnation uint64) (uint64, error)
	// Leave lets go of a worker: its lease is not renewed here any more, until it is
	// announced, joined or put for again. What it has stays until the lease ends,
	// which it does only when all others that renew it have let go, too.
	Leave(worker string)
	// Lapsed waits until leases ran out that are renewed here, because the server was
	// away for too long or lost them, and returns the workers. They were announced
	// again with the incarnation that they had, and have a lease, but what was
	// put before is gone: who knows of it should put it again. Each lapse is told
	// once, to one caller, and kept until then. The error is that of ctx, or ErrClosed.
	Lapsed(ctx context.Context) ([]string, error)
}
