package group

import (
	"testing"

	"go.uber.org/goleak"
)

func TestF(t *testing.T) { goleak.VerifyNone(t) }
