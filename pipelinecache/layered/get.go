package layered

import (
	"context"
	"errors"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
)

// errMiss is made once, so that a miss allocates no error.
var errMiss = fmt.Errorf("pipelinecache/layered: get: %w", kvferry.ErrNotFound)

// Get implements pipelinecache.Store.
func (s *Store) Get(ctx context.Context, f pipelinecache.Fingerprint) ([]byte, error) {
	shared, err := s.GetShared(ctx, f)
	if err != nil {
		return nil, err
	}
	return append(make([]byte, 0, len(shared)), shared...), nil
}

// GetShared implements pipelinecache.Store. What it returns is what the layers
// above were given.
func (s *Store) GetShared(ctx context.Context, f pipelinecache.Fingerprint) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("pipelinecache/layered: get: %w", err)
	}
	sh := s.shard(&f)
	if len(s.layers) == 0 {
		sh.count(miss, false)
		return nil, errMiss
	}
	landed := sh.landed.Load()
	artifact, err := s.layers[0].GetShared(ctx, f)
	if err == nil {
		sh.count(0, false)
		return artifact, nil
	}
	return s.getBelow(ctx, sh, f, landed, err)
}

// getBelow asks the other layers, or waits for who does. topErr is what the
// first layer said when so many flights had landed in the shard.
func (s *Store) getBelow(ctx context.Context, sh *shard, f pipelinecache.Fingerprint, landed uint64, topErr error) ([]byte, error) {
	for {
		fl, own, stale := sh.board(&f, landed)
		switch {
		case stale:
			// A flight for f may have ended since the first layer was asked:
			// what it found lies there.
			landed = sh.landed.Load()
			artifact, err := s.layers[0].GetShared(ctx, f)
			if err == nil {
				sh.count(0, false)
				return artifact, nil
			}
			topErr = err
			continue
		case own:
			s.fly(ctx, sh, &f, fl, topErr)
			return fl.artifact, fl.err
		}
		select {
		case <-fl.done:
		case <-ctx.Done():
			sh.count(miss, false)
			return nil, fmt.Errorf("pipelinecache/layered: get: %w", ctx.Err())
		}
		if !fl.abandoned {
			sh.count(fl.layer, true)
			return fl.artifact, fl.err
		}
		// It has landed: the next round begins with the first layer.
	}
}

// fly asks the layers below the first and promotes what it finds. Those who wait
// have the answer before the promotion.
func (s *Store) fly(ctx context.Context, sh *shard, f *pipelinecache.Fingerprint, fl *flight, topErr error) {
	defer sh.land(f, fl) // also if a layer panics
	errs := notMisses(nil, 0, topErr)
	for i, l := range s.layers[1:] {
		if ctx.Err() != nil {
			break
		}
		artifact, err := l.GetShared(ctx, *f)
		if err == nil {
			fl.artifact, fl.layer, fl.abandoned = artifact, i+1, false
			sh.count(fl.layer, false)
			close(fl.done)
			s.promote(ctx, sh, f, fl)
			return
		}
		errs = notMisses(errs, i+1, err)
	}
	sh.count(miss, false)
	switch err := ctx.Err(); {
	case err != nil: // the others may have more time
		fl.err = fmt.Errorf("pipelinecache/layered: get: %w", err)
		return
	case len(errs) == 0:
		fl.err = errMiss
	default:
		fl.err = errors.Join(errs...)
	}
	fl.abandoned = false
}

// notMisses appends what a layer said if it is more than that it has nothing.
func notMisses(errs []error, layer int, err error) []error {
	if errors.Is(err, kvferry.ErrNotFound) {
		return errs
	}
	return append(errs, fmt.Errorf("pipelinecache/layered: get from layer %d: %w", layer, err))
}

// promote puts what was found into the layers above, the first of them first.
func (s *Store) promote(ctx context.Context, sh *shard, f *pipelinecache.Fingerprint, fl *flight) {
	p := Promotion{Source: fl.layer}
	if sh.beginPromotion(fl) {
		s.promoteInto(ctx, 0, f, fl.artifact, &p)
		close(fl.promoting)
	} else {
		p.Superseded = true
	}
	for i := 1; i < fl.layer; i++ {
		s.promoteInto(ctx, i, f, fl.artifact, &p)
	}
	s.promotions.add(p)
}

func (s *Store) promoteInto(ctx context.Context, layer int, f *pipelinecache.Fingerprint, artifact []byte, p *Promotion) {
	size := uint64(len(artifact))
	if err := s.layers[layer].PutShared(ctx, *f, artifact); err != nil {
		p.RefusedLayers++ // the layer counts it, too, and the caller has what was asked for
		p.RefusedBytes += size
		return
	}
	p.Layers++
	p.Bytes += size
}
