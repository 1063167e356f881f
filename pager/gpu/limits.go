package gpu

import (
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/kernels"
)

// lanesPerWay is the number of staging extents of a direction: while one is
// copied, the other is gathered into or scattered from.
const lanesPerWay = 2

// slotsPerWay bounds the batches under way in a direction. They are more than
// the lanes, so that a link never runs dry between two looks at the events.
const slotsPerWay = 8

// maxBatchPages bounds the pages of one batch, and with it the tables.
const maxBatchPages = 8192

// maxBatchCopies bounds the copies of one batch, unless one page has more.
const maxBatchCopies = 16384

// maxDigestPages bounds the pages of one batch of digests.
const maxDigestPages = 4096

// maxSumBytes bounds the digests of one batch, unless one page has more.
const maxSumBytes = 1 << 20

// limits are the sizes that follow from a layout and the staging memory.
type limits struct {
	batchPages  int   // pages of one extent
	extentBytes int64 // of one lane
	directPages int   // of one batch without staging
	digestPages int   // of one batch of digests
}

// newLimits divides stagingBytes, 0 for the default, among the lanes. A page
// that does not fit is ErrInvalid.
func newLimits(g *geometry, pages int, stagingBytes int64) (limits, error) {
	if stagingBytes < 0 {
		return limits{}, fmt.Errorf("gpu: %d bytes of staging: %w", stagingBytes, kvferry.ErrInvalid)
	}
	if g.pageBytes == 0 || pages == 0 {
		return limits{batchPages: 1, directPages: 1, digestPages: 1}, nil // nothing is ever copied
	}
	if stagingBytes == 0 {
		stagingBytes = max(DefaultStagingBytes, lanesPerWay*g.pageBytes)
	}
	fit := stagingBytes / lanesPerWay / g.pageBytes
	if fit == 0 {
		return limits{}, fmt.Errorf("gpu: %d bytes of staging hold no %d pages of %d bytes: set StagingBytes to %d at least: %w",
			stagingBytes, lanesPerWay, g.pageBytes, lanesPerWay*g.pageBytes, kvferry.ErrInvalid)
	}
	n := int(min(fit, maxBatchPages, int64(pages)))
	copies := max(1, maxBatchCopies/len(g.fragments))
	return limits{
		batchPages: n, extentBytes: int64(n) * g.pageBytes,
		directPages: min(n, copies), digestPages: n,
	}, nil
}

// forDigests sets the pages of a batch of digests: as many as are gathered at a
// time, or as memory allows where nothing is gathered. scratch is what the
// kernels need for a number of pages.
func (l *limits) forDigests(parts, pages int, inPlace bool, scratch func(pages int) int64) {
	n := min(l.batchPages, maxDigestPages)
	if inPlace {
		n = min(pages, maxDigestPages)
	}
	n = min(n, max(1, maxSumBytes/(parts*kernels.DigestBytes)))
	for n > 1 && scratch(n) > l.extentBytes/2 {
		n /= 2
	}
	l.digestPages = max(n, 1)
}

// sumBytes returns the length of the digests of a batch.
func (l *limits) sumBytes(parts int) int64 {
	return int64(l.digestPages) * int64(parts) * kernels.DigestBytes
}
