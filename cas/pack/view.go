package pack

import (
	"maps"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// view is the catalog that a build sees: what was committed, and the builds of
// the same step before it.
type view struct {
	snapshots map[digest.Digest]listed
	names     map[string]digest.Digest
}

// view returns the catalog as it is, or a copy that can be changed.
func (st *state) view(own bool) *view {
	st.mu.RLock()
	defer st.mu.RUnlock()
	v := &view{st.snapshots, st.names} // only apply changes them, which runs after the builds
	if own {
		v = &view{maps.Clone(st.snapshots), maps.Clone(st.names)}
	}
	return v
}

// viewApplier applies operations of the catalog to a view.
type viewApplier struct{ *view }

func (v viewApplier) snapshot(e cas.Entry)                     { v.snapshots[e.Root] = listed{entry: e} }
func (v viewApplier) name(name string, root digest.Digest)     { v.names[name] = root }
func (v viewApplier) unname(name string)                       { delete(v.names, name) }
func (viewApplier) add(uint64, cas.Class, int64, stored) error { return nil }
func (viewApplier) remove(uint64, digest.Digest, int64) error  { return nil }
func (viewApplier) drop(uint64) error                          { return nil }
func (viewApplier) quarantine(uint64, stored) error            { return nil }
func (viewApplier) condemn(uint64, digest.Digest, int64)       {}
func (viewApplier) pardon()                                    {}
func (viewApplier) pack(uint64, cas.Class, int64, int64) error { return nil }
func (v viewApplier) forget(root digest.Digest) {
	delete(v.snapshots, root)
	maps.DeleteFunc(v.names, func(_ string, r digest.Digest) bool { return r == root })
}
