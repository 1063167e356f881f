package capture_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// soak tells whether the long forms are wanted.
func soak() bool { return os.Getenv("KVFERRY_SOAK") == "1" }

// victim is a small store with one snapshot of each format under a name, whose
// files are damaged one at a time.
type victim struct {
	files map[string][]byte // by path below the root
	roots map[string]digest.Digest
	meta  pager.Meta
	pages map[pager.PageID][]byte
	seqs  []pager.LogicalSeq
}

func newVictim(t testing.TB) *victim {
	t.Helper()
	e := populated(t, 2, 1, 1, 2, pager.FP8E4M3, 3, 5)
	require.NoError(t, e.InstallLogicalSeqs(t.Context(), []pager.LogicalSeq{
		{ID: "a", Pages: []pager.PageID{0, 1}, FillInLastPage: 1}, {ID: "b", Pages: []pager.PageID{0, 2}},
	}))
	v := &victim{files: map[string][]byte{}, roots: map[string]digest.Digest{}, meta: e.Meta()}
	v.pages, v.seqs = content(t, e)
	s, path := newDir(t)
	for _, f := range bothFormats() {
		rep, err := capture.Capture(t.Context(), e, s, capture.Options{
			Format: f, Names: []string{"name-" + string(f)}, Now: time.Unix(1_780_000_000, 5), Transfer: capture.Transfer{StagingBytes: 64},
		})
		require.NoError(t, err)
		v.roots["name-"+string(f)] = rep.Root
	}
	require.NoError(t, filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(path, p)
		if err != nil || strings.HasPrefix(rel, "locks") {
			return err
		}
		v.files[rel], err = os.ReadFile(p)
		return err
	}))
	return v
}

// copyTo writes the sound store to a new directory.
func (v *victim) copyTo(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	for rel, data := range v.files {
		require.NoError(t, os.MkdirAll(filepath.Join(root, filepath.Dir(rel)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(root, rel), data, 0o644))
	}
	return root
}

// verdict is what damage led to.
type verdict int

const (
	harmless verdict = iota // everything came back right
	reported                // something was refused, and Check says so
)

// judge opens a damaged store, finds both snapshots and restores them. It
// returns an error if anything wrong came back, if something was refused for
// another reason than damage, or if Check says nothing of what was refused.
func (v *victim) judge(t testing.TB, root string) (verdict, error) {
	s, err := dir.Open(root, dir.Options{ReadOnly: true})
	if err != nil {
		return reported, damage("open", err)
	}
	defer func() { _ = s.Close() }()
	var errs []error
	refused := false
	for name, want := range v.roots {
		e, err := capture.Resolve(t.Context(), s, name)
		if err == nil && (e.Root != want || e.Pages != 3 || e.Sequences != 2 || e.Bytes != 24 || !slices.Equal(e.Names, []string{name}) || !e.Created.Equal(time.Unix(1_780_000_000, 5))) {
			errs = append(errs, fmt.Errorf("%s resolves to %+v", name, e))
		}
		refused = refused || err != nil
		errs = append(errs, damage("resolve", err))
		err = v.restore(t, s, want)
		refused = refused || err != nil
		errs = append(errs, damage("restore", err))
	}
	c, err := capture.Check(t.Context(), s, capture.CheckOptions{Workers: 1})
	errs = append(errs, damage("check", err))
	if refused && err == nil && c.Sound() {
		errs = append(errs, errUnnoticed)
	}
	if refused || err != nil || !c.Sound() {
		return reported, errors.Join(errs...)
	}
	return harmless, errors.Join(errs...)
}

// damage returns an error for an error that does not stand for damage.
func damage(op string, err error) error {
	if err == nil || errors.Is(err, kvferry.ErrCorrupt) || errors.Is(err, kvferry.ErrNotFound) || errors.Is(err, kvferry.ErrUnsupported) {
		return nil
	}
	return fmt.Errorf("%s: not an error for damage: %w", op, err)
}

// What must never happen.
var (
	errWrongBytes = errors.New("wrong bytes were restored")
	errUnnoticed  = errors.New("refused, but Check finds nothing")
)

func (v *victim) restore(t testing.TB, s cas.Store, root digest.Digest) error {
	e, err := synthetic.New(synthetic.Options{Meta: v.meta, Capacity: 8})
	if err != nil {
		return err
	}
	defer func() { _ = e.Close() }()
	_, rerr := capture.Restore(t.Context(), s, root, e.With(synthetic.AllAbilities&^synthetic.Mover), capture.RestoreOptions{
		KeepIndices: true, Transfer: capture.Transfer{Workers: 1, StagingBytes: 16, Allocator: new(countingAllocator)},
	})
	pages, seqs := content(t, e)
	if rerr == nil {
		same := maps.EqualFunc(pages, v.pages, bytes.Equal) && slices.EqualFunc(seqs, v.seqs, pager.LogicalSeq.Equal)
		if !same {
			return errWrongBytes
		}
		return nil
	}
	if len(pages) > 0 || len(seqs) > 0 || e.FreePages() != 8 || e.Paused() {
		return errors.Join(errWrongBytes, rerr)
	}
	return rerr
}

// change is one way of damaging one file; nil content deletes it.
type change struct {
	file    string
	what    string
	content []byte
}

// tallies counts the verdicts over all changes, by kind of file.
type tallies map[string]*[2]int

// apply damages copies of the store, in parallel, and counts.
func (v *victim) apply(t *testing.T, changes func(yield func(change) bool)) tallies {
	t.Helper()
	var mu sync.Mutex
	counts := tallies{}
	queue := make(chan change)
	var wg sync.WaitGroup
	for range 2 {
		root := v.copyTo(t)
		wg.Go(func() {
			for c := range queue {
				path := filepath.Join(root, c.file)
				var err error
				if c.content == nil {
					err = os.Remove(path)
				} else {
					err = os.WriteFile(path, c.content, 0o644)
				}
				got, jerr := v.judge(t, root)
				if c.content == nil && strings.HasPrefix(c.file, "names") && errors.Is(jerr, errUnnoticed) {
					jerr = nil // nobody can tell that there was a name
				}
				err = errors.Join(err, jerr, os.WriteFile(path, v.files[c.file], 0o644))
				mu.Lock()
				if err != nil {
					t.Errorf("%s, %s: %v", c.file, c.what, err)
				}
				kind, _, _ := strings.Cut(c.file, string(filepath.Separator))
				if kind == "blobs" {
					kind = filepath.Ext(c.file)
				}
				if counts[kind] == nil {
					counts[kind] = new([2]int)
				}
				counts[kind][got]++
				mu.Unlock()
			}
		})
	}
	for c := range changes {
		queue <- c
	}
	close(queue)
	wg.Wait()
	return counts
}

// names returns the files in order, so that strides hit the same bits always.
func (v *victim) names() []string { return slices.Sorted(maps.Keys(v.files)) }

func (c tallies) log(t *testing.T) (total, unharmed int) {
	for _, kind := range slices.Sorted(maps.Keys(c)) {
		n := c[kind]
		t.Logf("%-14s %6d reported, %4d harmless", kind, n[reported], n[harmless])
		total += n[reported] + n[harmless]
		unharmed += n[harmless]
	}
	t.Logf("%d in all", total)
	return total, unharmed
}
