package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/gpu"
)

// lent is a tensor of another process.
type lent struct {
	Handle               string
	Offset, Whole, Bytes int64
}

// torchCase is what torch_check.py says of a cache.
type torchCase struct {
	Case    string
	Dims    struct{ B, L, H, N, C int }
	Tensors []lent
}

// measureTorch takes pages out of PyTorch's tensors and puts them back into
// others; PyTorch itself says what they have to be.
func measureTorch(b *bench) error {
	if err := b.kernels(); err != nil {
		return err
	}
	var args []string
	if b.software() {
		args = append(args, "--plain")
	}
	t, err := b.python("torch_check.py", args...)
	if err != nil {
		return b.missing("PyTorch", goalTorch, err)
	}
	var hello struct {
		Ready, Error string
		Cases        int
	}
	if err := t.ask(strconv.Itoa(b.scale.torchPages), &hello); err != nil {
		return err
	}
	if hello.Error != "" {
		return b.missing("PyTorch", goalTorch, errors.New(hello.Error))
	}
	if err := b.fact("tensors", hello.Ready); err != nil {
		return err
	}
	for range hello.Cases {
		var c torchCase
		if err := t.ask("", &c); err != nil {
			return err
		}
		r := &row{What: "layout", With: c.Case, Goal: goalTorch}
		if err := b.measure(r, func(r *row) error { return b.torchCase(r, t, &c) }); err != nil {
			return err
		}
		if r.Error != "" {
			return fmt.Errorf("%s: %s", c.Case, r.Error) // the other side waits for what will not come
		}
		if err := t.tell(struct{}{}); err != nil {
			return err
		}
	}
	return nil
}

// tell writes a line of JSON.
func (t *talk) tell(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = t.in.Write(append(line, '\n'))
	return err
}

// layout returns the layout of a case by its name.
func (c *torchCase) layout() (*pager.Layout, error) {
	d := c.Dims
	if c.Case == "latent" {
		row := int64(2 * d.C)
		return pager.Latent{
			Layers: uint32(d.L), PageTokens: uint32(d.N), Dtype: pager.BF16,
			RowBytes: row, TokenStride: row, PageStride: int64(d.N) * row,
		}.Layout(d.B)
	}
	m, err := pager.Plain(uint32(d.N), uint32(d.L), uint32(d.H), uint32(d.C), pager.BF16)
	if err != nil {
		return nil, err
	}
	switch c.Case {
	case "split":
		return pager.KVOutermost(m, d.B)
	case "nhd":
		return pager.KVPerPage(m, d.B, false)
	case "hnd":
		return pager.KVPerPage(m, d.B, true)
	case "packed":
		return pager.KVPacked(m, d.B)
	case "pools":
		return pager.TokenPools(m, d.B)
	}
	return pager.KVOrdered(m, d.B, c.Case)
}

// borrow maps the tensors; several may lie in one allocation, which is mapped
// once.
func (b *bench) borrow(tensors []lent) ([]cuda.Ptr, error) {
	opened := make(map[string]*cuda.Memory)
	var out []cuda.Ptr
	for _, t := range tensors {
		m, ok := opened[t.Handle]
		if !ok {
			h := cuda.IPCHandle{Bytes: t.Whole}
			raw, err := hex.DecodeString(t.Handle)
			if err != nil || copy(h.Handle[:], raw) != len(h.Handle) {
				return nil, fmt.Errorf("handle of %d bytes: %w: %w", len(raw), kvferry.ErrInvalid, err)
			}
			if m, err = b.device.OpenIPC(h); err != nil {
				return nil, err
			}
			b.later(m.Free)
			opened[t.Handle] = m
		}
		out = append(out, m.Ptr()+cuda.Ptr(t.Offset))
	}
	return out, nil
}

// torchCase moves the pages of one cache.
func (b *bench) torchCase(r *row, t *talk, c *torchCase) error {
	l, err := c.layout()
	if err != nil {
		return err
	}
	regions, err := b.borrow(c.Tensors)
	if err != nil {
		return err
	}
	w := &world{bench: b, layout: l, engine: newEngine(l.Pages)}
	if w.pager, err = gpu.New(gpu.Config{Device: b.device, Kernels: b.set, Layout: l, Regions: regions, Engine: w.engine}); err != nil {
		return err
	}
	b.later(w.pager.Close)
	w.view = w.pager.View()
	w.mover, _ = w.view.(pager.Mover) // a pager of this package has it
	mem, frames, err := w.frames(l.Pages)
	if err != nil {
		return err
	}
	r.Bytes = int64(len(mem))
	ids := w.shuffled()
	if err := b.gathered(r, t, w, ids, mem, frames); err != nil || r.Check != checkOK {
		return err
	}
	return restored(r, t, w, ids, frames)
}

// gathered takes the pages out, has their digests made on the device, too, and
// has the other side compare the bytes.
func (b *bench) gathered(r *row, t *talk, w *world, ids []pager.PageID, mem []byte, frames [][]byte) error {
	if err := w.move(pager.Out, ids, frames, w.perJob()); err != nil {
		return err
	}
	d, ok := w.view.(pager.Digester)
	if !ok {
		return fmt.Errorf("the pager has no Digester: %w", kvferry.ErrUnsupported)
	}
	sums := make([]digest.Digest, len(ids)*len(w.layout.Meta.Parts))
	if err := d.DigestPages(b.ctx, digest.BLAKE3, nil, ids, sums); err != nil {
		return err
	}
	if r.checked(sampled(w.layout.Meta, frames, sums, 1)); r.Check != checkOK {
		return nil
	}
	file := filepath.Join(absolute(b.options.work), "torch.pages")
	if err := os.WriteFile(file, bytes.Clone(mem), 0o600); err != nil {
		return err
	}
	if err := t.tell(map[string]any{"file": file, "pages": ids}); err != nil {
		return err
	}
	var answer struct{ Gathered string }
	err := errors.Join(t.ask("", &answer), os.Remove(file))
	if answer.Gathered != checkOK {
		r.Check = "gathered: " + answer.Gathered
	}
	return err
}

// restored puts the pages back, each but the last into another place.
func restored(r *row, t *talk, w *world, ids []pager.PageID, frames [][]byte) error {
	to := make([]pager.PageID, 0, len(ids))
	places := make([]int, len(ids))
	for i := range places {
		places[i] = -1
	}
	for i := range ids[:len(ids)-1] {
		to = append(to, ids[i+1])
		places[ids[i+1]] = int(ids[i])
	}
	if err := w.move(pager.In, to, frames[:len(to)], w.perJob()); err != nil {
		return err
	}
	if err := t.tell(map[string]any{"places": places}); err != nil {
		return err
	}
	var answer struct{ Restored string }
	if err := t.ask("", &answer); err != nil {
		return err
	}
	if answer.Restored != checkOK {
		r.Check = "restored: " + answer.Restored
	}
	return nil
}
