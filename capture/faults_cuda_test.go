//go:build cuda

package capture_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/mem"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/softcuda"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// deviceScenario is an operation on an engine in device memory, below which
// every call of the driver is made to fail.
type deviceScenario struct {
	name string
	// prepare fills the engine and the store before anything fails.
	prepare func(ctx context.Context, w *deviceWorld) error
	run     func(ctx context.Context, w *deviceWorld) error
	// right returns an error unless a run that succeeded did what it says.
	right func(ctx context.Context, w *deviceWorld) error
	// reads: right looks at the device, which may have been lost after the last
	// byte.
	reads bool
}

// deviceWorld is what a deviceScenario works on.
type deviceWorld struct {
	*onDevice
	store  cas.Store
	source *synthetic.Engine // of the snapshot, in host memory
	root   digest.Digest     // a snapshot in the store
	made   capture.Report
	pinned pinnedBooks
}

// pinnedBooks is pinned staging memory with a list of what was not given back.
type pinnedBooks struct {
	*cuda.Allocator
	mu   sync.Mutex
	live map[*byte][]byte
}

func (p *pinnedBooks) Allocate(bytes int) ([]byte, error) {
	mem, err := p.Allocator.Allocate(bytes)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil && bytes > 0 {
		p.live[&mem[0]] = mem
	}
	return mem, err
}

func (p *pinnedBooks) Free(mem []byte) error {
	err := p.Allocator.Free(mem)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil && len(mem) > 0 {
		delete(p.live, unsafe.SliceData(mem))
	}
	return err
}

const (
	faultPages = 6
	faultRoom  = 16
)

func faultMeta() (pager.Meta, error) { return pager.Plain(4, 2, 2, 4, pager.BF16) }

// transfer has the staging memory in the device's pinned memory, so that
// pinning is part of every operation.
func (w *deviceWorld) transfer() capture.Transfer {
	return capture.Transfer{Workers: 2, StagingBytes: 1 << 12, Allocator: &w.pinned}
}

func deviceScenarios() []deviceScenario {
	full := func(ctx context.Context, w *deviceWorld) error {
		rep, err := capture.Capture(ctx, w.Engine, w.store, capture.Options{})
		w.root = rep.Root
		return err
	}
	return []deviceScenario{
		{
			name:    "capture",
			prepare: func(ctx context.Context, w *deviceWorld) error { return w.fill(ctx, faultPages) },
			run:     func(ctx context.Context, w *deviceWorld) error { return w.capture(ctx, capture.Options{}) },
			right:   rightCapture,
		},
		{
			name:    "capture-processfork",
			prepare: func(ctx context.Context, w *deviceWorld) error { return w.fill(ctx, faultPages) },
			run: func(ctx context.Context, w *deviceWorld) error {
				return w.capture(ctx, capture.Options{Format: cas.FormatProcessFork})
			},
			right: rightCapture,
		},
		{
			name: "incremental",
			prepare: func(ctx context.Context, w *deviceWorld) error {
				return errors.Join(w.fill(ctx, faultPages), full(ctx, w), w.write(ctx, 1, noisy(w.Meta(), 50)), w.write(ctx, 4, noisy(w.Meta(), 51)))
			},
			run: func(ctx context.Context, w *deviceWorld) error {
				return w.capture(ctx, capture.Options{Since: w.root})
			},
			right: rightCapture,
		},
		{
			name:    "restore",
			prepare: prepareRestore,
			run: func(ctx context.Context, w *deviceWorld) error {
				_, err := capture.Restore(ctx, w.store, w.root, w.view, capture.RestoreOptions{Transfer: w.transfer()})
				return err
			},
			right: func(ctx context.Context, w *deviceWorld) error { return w.holds(ctx, w.source) },
			reads: true,
		},
		{
			name:    "pinning",
			prepare: func(context.Context, *deviceWorld) error { return nil },
			run:     pinAndFree,
			right:   func(context.Context, *deviceWorld) error { return nil },
		},
	}
}

// capture captures the device's engine and notes the report.
func (w *deviceWorld) capture(ctx context.Context, o capture.Options) error {
	o.Transfer, o.Names = w.transfer(), []string{"latest"}
	rep, err := capture.Capture(ctx, w.view, w.store, o)
	w.made = rep
	if err == nil && !rep.Root.Valid() {
		return errors.New("a capture without a root")
	}
	return err
}

// rightCapture verifies a snapshot and compares it with one of the same content
// in host memory.
func rightCapture(ctx context.Context, w *deviceWorld) error {
	v, err := capture.Verify(ctx, w.store, w.made.Root, capture.VerifyOptions{Workers: 1})
	if err != nil {
		return err
	}
	if err := problems(v.Problems); err != nil {
		return err
	}
	other, err := mem.Open(mem.Options{})
	if err != nil {
		return err
	}
	want, err := capture.Capture(ctx, w.Engine, other, capture.Options{Format: w.made.Format})
	if err == nil && want.Root != w.made.Root {
		err = fmt.Errorf("snapshot %v, of the same content in host memory %v", w.made.Root, want.Root)
	}
	return errors.Join(err, other.Close())
}

// prepareRestore puts a snapshot of an engine in host memory into the store.
func prepareRestore(ctx context.Context, w *deviceWorld) error {
	e, err := synthetic.New(synthetic.Options{Meta: w.Meta(), Capacity: faultRoom})
	if err != nil {
		return err
	}
	w.source = e
	if err := e.Populate(faultPages, 7<<40); err != nil {
		return err
	}
	rep, err := capture.Capture(ctx, e, w.store, capture.Options{})
	w.root = rep.Root
	return err
}

// pinAndFree pins memory in each way that there is and gives it back.
func pinAndFree(_ context.Context, w *deviceWorld) error {
	p, err := w.device.Pin(1<<16, cuda.PinOptions{ChunkBytes: 1 << 14, Mapped: true, Portable: true})
	if err != nil {
		return err
	}
	for i := range p.Bytes() {
		if p.Bytes()[i] != 0 {
			return errors.Join(errors.New("pinned memory that is not zero"), p.Close())
		}
	}
	if !w.device.IsPinned(p.Bytes()[:1<<14]) {
		return errors.Join(errors.New("pinned memory that is not pinned"), p.Close())
	}
	if err := p.Close(); err != nil {
		return errors.Join(err, p.Close()) // what could not be given back is still there
	}
	a := w.device.Allocator(cuda.PinOptions{})
	mem, err := a.Allocate(1 << 12)
	if err != nil {
		return err
	}
	if err := a.Free(mem); err != nil {
		return errors.Join(err, a.Free(mem))
	}
	return nil
}

// faultCodes are the errors that calls fail with: one that passes, one that
// does not say what it means, and one that loses the device. Each list is a
// sweep, whose calls take the codes by turns; the long form has one for each.
func faultCodes() [][]int {
	if soak() {
		return [][]int{{2}, {999}, {700}}
	}
	return [][]int{{2, 999, 700}}
}

// stride is how far behind call k the next one is that fails. Work that is put
// off is waited for by asking again and again: of a thousand such calls, the
// short form takes some.
func stride(k int) int {
	if k > 150 && !soak() && os.Getenv("SOFTCUDA_MODE") == "delayed" {
		return 17
	}
	return 1
}

// TestFaultsOfTheDriver makes every call of the driver fail, one after the
// other, below every scenario.
func TestFaultsOfTheDriver(t *testing.T) {
	softcuda.Only(t)
	for _, sc := range deviceScenarios() {
		for _, codes := range faultCodes() {
			t.Run(fmt.Sprintf("%s/codes=%v", sc.name, codes), func(t *testing.T) {
				faults := 0
				for k := 1; ; k++ {
					if !softcuda.Mine(k) {
						continue
					}
					if !sc.fault(t, k, codes[faults%len(codes)]) {
						break
					}
					faults++
					k += stride(k) - 1
				}
				require.Positive(t, faults)
				t.Logf("%d faults", faults)
			})
		}
	}
}

// fault runs the scenario with a failing call k and reports whether it came to
// that call.
func (sc *deviceScenario) fault(t *testing.T, k, code int) (fired bool) {
	afresh := false
	ok := t.Run(fmt.Sprintf("k=%d", k), func(t *testing.T) {
		var err error
		t.Cleanup(func() { // behind the check of the driver's books
			if t.Failed() {
				t.Logf("the fault gave %v", err)
			}
		})
		w := sc.world(t)
		held, entries := len(w.held), w.entries(t)
		calls := softcuda.TotalCalls()
		softcuda.FailCall(k, code)
		err = sc.run(t.Context(), w)
		fired = softcuda.TotalCalls()-calls >= k
		softcuda.FailCall(0, 0)
		require.False(t, w.Paused(), "the engine goes on: %v", err)
		if err == nil {
			if !sc.reads || w.device.Err() == nil {
				require.NoError(t, sc.right(t.Context(), w))
			}
		} else {
			require.True(t, fired, "%v", err)
			typedFault(t, err, code)
			require.Equal(t, entries, w.entries(t), "nothing is published: %v", err)
			if !errors.Is(err, kvferry.ErrUnknownOutcome) {
				require.Len(t, w.held, held, "pages are given back: %v", err)
			}
		}
		w.freePinned(t, err)
		again := w.device.Err() == nil && err != nil && !errors.Is(err, kvferry.ErrUnknownOutcome)
		if again {
			require.NoError(t, sc.run(t.Context(), w), "a second run after %v", err)
			require.NoError(t, sc.right(t.Context(), w))
		}
		lost := w.device.Err() != nil
		afresh = lost || !again && err != nil
		w.end(t, lost)
	})
	if ok && afresh {
		ok = t.Run(fmt.Sprintf("k=%d/afresh", k), sc.afresh)
	}
	return ok && fired
}

// typedFault checks that the fault that was put in is in the error, and what it
// means.
func typedFault(t testing.TB, err error, code int) {
	t.Helper()
	if code == 700 {
		require.ErrorIs(t, err, kvferry.ErrDeviceLost)
		return
	}
	var e *cuda.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, code, e.Code, "%v", err)
	if code == 2 {
		require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
	}
}

// afresh runs the scenario on a device that is as new.
func (sc *deviceScenario) afresh(t *testing.T) {
	w := sc.world(t)
	require.NoError(t, sc.run(t.Context(), w))
	require.NoError(t, sc.right(t.Context(), w))
	w.end(t, false)
}

// world prepares the scenario.
func (sc *deviceScenario) world(t *testing.T) *deviceWorld {
	t.Helper()
	m, err := faultMeta()
	require.NoError(t, err)
	o, err := openOnDevice(t.Context(), softcuda.Device(t), m, faultRoom)
	require.NoError(t, err)
	w := &deviceWorld{onDevice: o, store: newMem(t)}
	w.pinned = pinnedBooks{Allocator: o.device.Allocator(cuda.PinOptions{AnyNode: true}), live: map[*byte][]byte{}}
	require.NoError(t, sc.prepare(t.Context(), w))
	return w
}

// freePinned gives back the staging memory that an operation did not: because a
// copy of unknown end may use it, or because the driver did not take it back.
// The operation has to have said so.
func (w *deviceWorld) freePinned(t *testing.T, err error) {
	t.Helper()
	if len(w.pinned.live) == 0 {
		return
	}
	require.Error(t, err, "staging memory that is kept in silence")
	if !errors.Is(err, kvferry.ErrUnknownOutcome) {
		require.ErrorContains(t, err, "staging memory that was not taken back")
	}
	if w.device.Err() == nil {
		require.NoError(t, w.device.Synchronize())
	}
	for _, mem := range w.pinned.live {
		err := w.pinned.Allocator.Free(mem)
		if w.device.Err() == nil && !errors.Is(err, kvferry.ErrInvalid) { // it was gone when the error came
			require.NoError(t, err)
		}
	}
	clear(w.pinned.live)
}

// end gives everything back. Of a lost device the driver has taken it all.
func (w *deviceWorld) end(t *testing.T, lost bool) {
	t.Helper()
	err := w.closeDevice()
	if !lost {
		require.NoError(t, err)
	} else if err != nil {
		require.ErrorIs(t, err, kvferry.ErrDeviceLost)
	}
	require.NoError(t, w.Engine.Close())
	if w.source != nil {
		require.NoError(t, w.source.Close())
	}
}

func (w *deviceWorld) entries(t testing.TB) int {
	t.Helper()
	es, err := w.store.Catalog().Entries(t.Context())
	require.NoError(t, err)
	return len(es)
}
