package bad

import "os"

var _ = os.Getenv("GATE")
