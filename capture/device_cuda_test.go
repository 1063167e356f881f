//go:build cuda

package capture_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/kernels"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/gpu"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// onDevice is an engine with its pages in device memory, and a stream of its own
// that copies wait for and that waits for copies. A synthetic engine
// gives out its pages and keeps its sequences, and holds the same bytes as long
// as everything is written by write: the reference.
type onDevice struct {
	*synthetic.Engine
	held map[pager.PageID]bool // allocated, written or not

	device  *cuda.Device
	kernels *kernels.Set
	memory  *cuda.Memory
	compute *cuda.Stream
	pager   *gpu.Pager
	view    pager.Pager
}

// openOnDevice returns an engine with room for so many pages on a device. What
// it got on the way to an error it has given back.
func openOnDevice(ctx context.Context, d *cuda.Device, m pager.Meta, pages int, change ...func(*gpu.Config)) (_ *onDevice, err error) {
	e, err := synthetic.New(synthetic.Options{Meta: m, Capacity: pages})
	if err != nil {
		return nil, err
	}
	o := &onDevice{Engine: e, held: map[pager.PageID]bool{}, device: d}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.closeDevice(), e.Close())
		}
	}()
	if o.kernels, err = kernels.Open(ctx, d, nil); err != nil {
		return nil, err
	}
	l, err := pager.KVPerPage(m, pages, false)
	if err != nil {
		return nil, err
	}
	bytes := int64(0)
	for _, r := range l.Regions {
		bytes += r.Bytes
	}
	if o.memory, err = d.Alloc(bytes); err != nil {
		return nil, err
	}
	var regions []cuda.Ptr
	at := o.memory.Ptr()
	for _, r := range l.Regions {
		regions = append(regions, at)
		at += cuda.Ptr(r.Bytes)
	}
	if o.compute, err = d.NewStream(cuda.StreamOptions{}); err != nil {
		return nil, err
	}
	c := gpu.Config{
		Device: d, Kernels: o.kernels, Layout: l, Regions: regions, Engine: o, StagingBytes: 1 << 20,
		Streams: []uintptr{o.compute.Handle()},
	}
	for _, f := range change {
		f(&c)
	}
	if o.pager, err = gpu.New(c); err != nil {
		return nil, err
	}
	o.view = o.pager.View()
	return o, nil
}

// closeDevice gives back what is on the device. What the driver does not take
// back is still there, and is tried again. Copies without a known end keep
// everything that they may touch.
func (o *onDevice) closeDevice() error {
	err := o.tryCloseDevice()
	if err == nil || errors.Is(err, kvferry.ErrUnknownOutcome) {
		return err
	}
	return errors.Join(err, o.tryCloseDevice())
}

func (o *onDevice) tryCloseDevice() error {
	var errs []error
	if o.pager != nil {
		err := o.pager.Close()
		if errors.Is(err, kvferry.ErrUnknownOutcome) {
			return err
		}
		errs = append(errs, err)
	}
	if o.compute != nil {
		errs = append(errs, o.compute.Close())
	}
	if o.memory != nil {
		errs = append(errs, o.memory.Free())
	}
	if o.kernels != nil {
		errs = append(errs, o.kernels.Close())
	}
	return errors.Join(errs...)
}

// newOnDevice is openOnDevice for tests without faults.
func newOnDevice(t testing.TB, d *cuda.Device, m pager.Meta, pages int, change ...func(*gpu.Config)) *onDevice {
	t.Helper()
	o, err := openOnDevice(t.Context(), d, m, pages, change...)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, o.closeDevice())
		require.NoError(t, o.Engine.Close())
	})
	return o
}

// OccupiedPages implements gpu.Engine: the reference does not see what a
// restore writes to the device.
func (o *onDevice) OccupiedPages(context.Context) ([]pager.PageID, error) {
	return slices.Sorted(maps.Keys(o.held)), nil
}

// AllocatePages implements gpu.Engine.
func (o *onDevice) AllocatePages(ctx context.Context, n int) ([]pager.PageID, error) {
	ids, err := o.Engine.AllocatePages(ctx, n)
	for _, id := range ids {
		o.held[id] = true
	}
	return ids, err
}

// ReleasePages implements pager.Releaser.
func (o *onDevice) ReleasePages(ctx context.Context, ids []pager.PageID) error {
	err := pager.AbilitiesOf(o.With(synthetic.Releaser)).Releaser.ReleasePages(ctx, ids)
	for _, id := range ids {
		if err == nil {
			delete(o.held, id)
		}
	}
	return err
}

// write puts bytes into a page, on the device and in the reference.
func (o *onDevice) write(ctx context.Context, id pager.PageID, page []byte) error {
	return errors.Join(o.view.WritePage(ctx, id, page), o.Engine.WritePage(ctx, id, page))
}

// fill allocates n pages, the i-th with the content noisy(i+1), and makes two
// sequences of them that share the first half.
func (o *onDevice) fill(ctx context.Context, n int) error {
	ids, err := o.AllocatePages(ctx, n)
	if err != nil {
		return err
	}
	for i, id := range ids {
		if err := o.write(ctx, id, noisy(o.Meta(), uint64(i+1))); err != nil {
			return err
		}
	}
	return o.InstallLogicalSeqs(ctx, []pager.LogicalSeq{
		{ID: "left", Pages: ids[:n-1], FillInLastPage: 1},
		{ID: "right", Pages: slices.Concat(ids[:n/2], ids[n-1:]), FillInLastPage: 2},
	})
}

// noisy returns a page that depends on a number.
func noisy(m pager.Meta, n uint64) []byte {
	page := make([]byte, m.PageBytes())
	x := n*0x9E3779B97F4A7C15 + 1
	for i := range page {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		page[i] = byte(x >> 32)
	}
	return page
}

// holds returns an error unless the device has, page for page in the order of
// the sequences, what other has in host memory.
func (o *onDevice) holds(ctx context.Context, other pager.Pager) error {
	mine, err := o.LogicalSeqs(ctx)
	if err != nil {
		return err
	}
	theirs, err := other.LogicalSeqs(ctx)
	if err != nil {
		return err
	}
	if len(mine) != len(theirs) {
		return fmt.Errorf("%d sequences instead of %d", len(mine), len(theirs))
	}
	a, b := make([]byte, o.Meta().PageBytes()), make([]byte, o.Meta().PageBytes())
	for i, s := range mine {
		if s.ID != theirs[i].ID || s.FillInLastPage != theirs[i].FillInLastPage || len(s.Pages) != len(theirs[i].Pages) {
			return fmt.Errorf("sequence %+v instead of %+v", s, theirs[i])
		}
		for k, id := range s.Pages {
			if err := errors.Join(o.view.ReadPage(ctx, id, a), other.ReadPage(ctx, theirs[i].Pages[k], b)); err != nil {
				return err
			}
			if string(a) != string(b) {
				return fmt.Errorf("page %d of sequence %q holds other bytes", k, s.ID)
			}
		}
	}
	return nil
}
