//go:build !unix

package art

import (
	"errors"

	"github.com/kvferry/kvferry/internal/vfs"
)

// mapping is not there: logs are written.
type mapping struct{}

func mapLog(string) (*mapping, error) { return nil, errors.ErrUnsupported }

func (*mapping) covers(int64, int) bool          { return false }
func (*mapping) move(vfs.File, int64, int) error { return errors.ErrUnsupported }
func (*mapping) put([]byte, int64) error         { return errors.ErrUnsupported }
func (*mapping) drop() error                     { return nil }
func (*mapping) close() error                    { return nil }
