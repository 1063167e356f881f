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
	return open(f, noTimes{}, o)
}

type noTimes struct{}

func (noTimes) used(string) time.Time     { return time.Time{} }
func (noTimes) setUsed(string, time.Time) {}
func (noTimes) Close() error              { return nil }
