package disk

import (
	"time"

	"github.com/kvferry/kvferry/internal/vfs"
)

// OpenFS uses a file system as Open uses a directory. Its files have no access
// times.
func OpenFS(f vfs.FS, o Options) (*Store, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return open(f, &Times{}, o)
}

// OpenFSTimes is OpenFS with access times.
func OpenFSTimes(f vfs.FS, o Options, t *Times) (*Store, error) {
	o.EnsureDefaults()
	return open(f, t, o)
}

// Times are access times that only the store sets.
type Times struct {
	Used map[string]time.Time
	Sets int
}

func (t *Times) used(name string) time.Time { return t.Used[name] }

func (t *Times) setUsed(name string, at time.Time) {
	if t.Used != nil {
		t.Used[name] = at
	}
	t.Sets++
}

// Close does nothing.
func (t *Times) Close() error { return nil }
