package capture_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
)

// errMarker is the fault that is put in.
var errMarker = errors.New("put in by the test")

// calls counts the calls that reach an engine or a store and lets something
// happen at one of them.
type calls struct {
	mu    sync.Mutex
	n     int
	at    int
	act   func(op string) error // nil: count only
	fired string                // the call at which it happened
	only  []string              // counts only these calls, if not empty
	// always also counts the calls that cannot fail.
	always bool
}

func (c *calls) hit(op string) error {
	c.mu.Lock()
	if len(c.only) > 0 && !slices.Contains(c.only, op) {
		c.mu.Unlock()
		return nil
	}
	act := c.act
	if c.n == c.at && act != nil {
		c.fired = op
	} else {
		act = nil
	}
	c.n++
	c.mu.Unlock()
	if act == nil {
		return nil
	}
	return act(op)
}

// arm makes act happen at call k from now on, counted among those of the given
// names, or among all.
func (c *calls) arm(k int, always bool, act func(op string) error, only ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n, c.at, c.act, c.always, c.fired, c.only = 0, k, act, always, "", only
}

// failFirst makes the first of the given calls fail.
func (c *calls) failFirst(op string, err error) {
	c.arm(0, false, func(string) error { return err }, op)
}

func (c *calls) disarm() (fired string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.act = nil
	return c.fired
}

// faultPager passes calls on to an engine, counts them and keeps books on the
// rules that its caller has to follow.
type faultPager struct {
	pager.Pager
	has   pager.Abilities
	calls *calls

	mu       sync.Mutex
	held     int      // successful pauses without a resume
	broken   []string // rules that the caller broke
	tickets  pager.Ticket
	jobs     map[pager.Ticket]*lazyJob
	fenced   map[pager.PageID]bool // pages of copies without a known end
	released int
}

// lazyJob is a copy that is carried out when it is waited for, or later.
type lazyJob struct {
	job     pager.Job
	inner   pager.Ticket
	started bool
	waited  bool
}

// newFaultPager returns the books and the engine as it is seen through them,
// with the abilities that it has.
func newFaultPager(inner pager.Pager, c *calls) (*faultPager, pager.Pager) {
	p := &faultPager{
		Pager: inner, has: pager.AbilitiesOf(inner), calls: c,
		jobs: map[pager.Ticket]*lazyJob{}, fenced: map[pager.PageID]bool{},
	}
	a := pager.Abilities{Generations: p.has.Generations}
	if p.has.Releaser != nil {
		a.Releaser = p
	}
	if p.has.Reserver != nil {
		a.Reserver = p
	}
	if p.has.Digester != nil {
		a.Digester = p
	}
	if p.has.Mover != nil {
		a.Mover = p
	}
	return p, pager.Compose(only{p}, a)
}

// only hides everything but the nine operations.
type only struct{ pager.Pager }

func (p *faultPager) breach(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = append(p.broken, fmt.Sprintf(format, args...))
}

func (p *faultPager) Meta() pager.Meta {
	p.calls.mu.Lock()
	always := p.calls.always
	p.calls.mu.Unlock()
	if always {
		_ = p.calls.hit("meta") // may panic or cancel
	}
	return p.Pager.Meta()
}

func (p *faultPager) Pause(ctx context.Context) error {
	if err := p.calls.hit("pause"); err != nil {
		return err
	}
	err := p.Pager.Pause(ctx)
	if err == nil {
		p.mu.Lock()
		p.held++
		p.mu.Unlock()
	}
	return err
}

// Resume resumes the engine in any case: one that stays paused could not be
// looked at afterwards.
func (p *faultPager) Resume(ctx context.Context) error {
	if ctx.Err() != nil {
		p.breach("resume with a context that is done")
	}
	p.mu.Lock()
	p.held--
	p.mu.Unlock()
	if err := p.Pager.Resume(ctx); err != nil {
		return err
	}
	return p.calls.hit("resume")
}

func (p *faultPager) OccupiedPages(ctx context.Context) ([]pager.PageID, error) {
	if err := p.calls.hit("occupied"); err != nil {
		return nil, err
	}
	return p.Pager.OccupiedPages(ctx)
}

func (p *faultPager) LogicalSeqs(ctx context.Context) ([]pager.LogicalSeq, error) {
	if err := p.calls.hit("sequences"); err != nil {
		return nil, err
	}
	return p.Pager.LogicalSeqs(ctx)
}

func (p *faultPager) ReadPage(ctx context.Context, id pager.PageID, dst []byte) error {
	if err := p.calls.hit("read"); err != nil {
		return err
	}
	return p.Pager.ReadPage(ctx, id, dst)
}

func (p *faultPager) AllocatePages(ctx context.Context, n int) ([]pager.PageID, error) {
	if err := p.calls.hit("allocate"); err != nil {
		return nil, err
	}
	return p.Pager.AllocatePages(ctx, n)
}

func (p *faultPager) WritePage(ctx context.Context, id pager.PageID, src []byte) error {
	if err := p.calls.hit("write"); err != nil {
		// An error leaves the page in any state.
		return errors.Join(err, p.Pager.WritePage(ctx, id, make([]byte, len(src))))
	}
	return p.Pager.WritePage(ctx, id, src)
}

func (p *faultPager) InstallLogicalSeqs(ctx context.Context, seqs []pager.LogicalSeq) error {
	if err := p.calls.hit("install"); err != nil {
		return err
	}
	return p.Pager.InstallLogicalSeqs(ctx, seqs)
}

func (p *faultPager) ReleasePages(ctx context.Context, ids []pager.PageID) error {
	p.mu.Lock()
	p.released += len(ids)
	for _, id := range ids {
		if p.fenced[id] {
			p.broken = append(p.broken, fmt.Sprintf("release of page %d, into which a copy may still write", id))
		}
	}
	p.mu.Unlock()
	if err := p.calls.hit("release"); err != nil {
		return err
	}
	return p.has.Releaser.ReleasePages(ctx, ids)
}

func (p *faultPager) ReservePages(ctx context.Context, ids []pager.PageID) error {
	if err := p.calls.hit("reserve"); err != nil {
		return err
	}
	return p.has.Reserver.ReservePages(ctx, ids)
}

func (p *faultPager) DigestPages(ctx context.Context, a digest.Algorithm, key *digest.Key, ids []pager.PageID, dst []digest.Digest) error {
	if err := p.calls.hit("digest"); err != nil {
		return err
	}
	return p.has.Digester.DigestPages(ctx, a, key, ids, dst)
}

func (p *faultPager) ComparePages(ctx context.Context, a digest.Algorithm, key *digest.Key, ids []pager.PageID, want []digest.Digest, changed []int, sums []digest.Digest) ([]int, []digest.Digest, error) {
	if err := p.calls.hit("compare"); err != nil {
		return changed, sums, err
	}
	return p.has.Digester.(pager.Comparer).ComparePages(ctx, a, key, ids, want, changed, sums)
}
