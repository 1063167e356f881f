package cuda_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/kvferry/kvferry/cuda"
)

// tellStatus names the variable that makes this binary tell the status and end,
// so that a test can run it in another environment. idle makes it end at once.
const (
	tellStatus = "KVFERRY_TEST_TELL_STATUS"
	idle       = "idle"
)

func TestMain(m *testing.M) {
	switch os.Getenv(tellStatus) {
	case "":
	case idle:
		os.Exit(0)
	default:
		n, err := cuda.Count()
		fmt.Println("status:", cuda.Status())
		fmt.Println("count:", n, err)
		_, err = cuda.Open(0, cuda.Options{})
		fmt.Println("open:", err)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
