//go:build cuda

package cuda

import (
	"fmt"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda/internal/driver"
)

type module struct {
	held
	loaded cu.Module
}

type function struct {
	from *module
	fn   cu.Function
}

func (d *device) link(ptx []byte, o LinkOptions) (image []byte, log string, err error) {
	if len(ptx) == 0 || o.MaxRegisters < 0 {
		return nil, "", fmt.Errorf("cuda: link %d bytes of PTX, at most %d registers: %w", len(ptx), o.MaxRegisters, kvferry.ErrInvalid)
	}
	// The driver looks for the end of the text by itself.
	text := append(append(make([]byte, 0, len(ptx)+1), ptx...), 0)
	var info, failed string
	err = d.do("link", func() error {
		var r driver.Result
		image, info, failed = driver.Link(text, o.MaxRegisters, o.LineInfo, &r)
		return result(&r)
	})
	if err != nil {
		return nil, info, linkError(err, ptx, d.known, failed)
	}
	return image, info, nil
}

func (d *device) load(image []byte) (*Module, error) {
	if err := checkImage(image); err != nil {
		return nil, err
	}
	var m cu.Module
	err := d.do("load a module", func() error {
		var err error
		m, err = cu.LoadData(unsafe.String(unsafe.SliceData(image), len(image))) // which copies it
		return wrap("cuModuleLoadData", err)
	})
	if err != nil {
		if m != (cu.Module{}) {
			d.discard(func() error { return wrap("cuModuleUnload", m.Unload()) })
		}
		return nil, err
	}
	return &Module{module{held: d.hold(modules), loaded: m}}, nil
}

func (m *module) function(name string) (*Function, error) {
	var fn cu.Function
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.usable("look up a kernel"); err != nil {
		return nil, err
	}
	err := m.owner.do("look up a kernel", func() error {
		var err error
		if fn, err = m.loaded.Function(name); err != nil {
			return wrap("cuModuleGetFunction", err)
		}
		// A driver that loads kernels late would do it at the first launch, and
		// wait for the whole device then. To look at one loads it.
		_, err = fn.Attribute(cu.NumRegs)
		return wrap("cuFuncGetAttribute", err)
	})
	if codeIn(err) == driver.NotFound {
		return nil, fmt.Errorf("cuda: the module has no kernel %q: %w", name, kvferry.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return &Function{function{m, fn}}, nil
}

func (m *module) close() error {
	return m.giveBack(func() error { return wrap("cuModuleUnload", m.loaded.Unload()) })
}

// handle is 0 when the module is closed, which Submit refuses.
func (f *function) handle() uintptr {
	if f.from == nil {
		return 0
	}
	f.from.mu.RLock()
	defer f.from.mu.RUnlock()
	if f.from.gone {
		return 0
	}
	return functionHandle(f.fn)
}

func (f *function) facts() (FunctionFacts, error) {
	var facts FunctionFacts
	if f.from == nil {
		return facts, fmt.Errorf("cuda: look at a kernel: it is of no module: %w", kvferry.ErrInvalid)
	}
	f.from.mu.RLock()
	defer f.from.mu.RUnlock()
	if err := f.from.usable("look at a kernel"); err != nil {
		return facts, err
	}
	err := f.from.owner.do("look at a kernel", func() error {
		for _, a := range []struct {
			attribute cu.FunctionAttribute
			into      *int
		}{
			{cu.NumRegs, &facts.Registers},
			{cu.LocalSizeBytes, &facts.LocalBytes},
			{cu.SharedSizeBytes, &facts.SharedBytes},
			{cu.FnMaxThreadsPerBlock, &facts.MaxThreads},
		} {
			n, err := f.fn.Attribute(a.attribute)
			if err != nil {
				return wrap("cuFuncGetAttribute", err)
			}
			*a.into = n
		}
		return nil
	})
	return facts, err
}
