package pipelinecache_test

import (
	"testing"

	"github.com/zeebo/blake3"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hash is BLAKE3-256 from its library, not by way of the package.
func hash(b []byte) []byte {
	sum := blake3.Sum256(b)
	return sum[:]
}
