package user

import "example.org/bad/suitetest"

var _ = suitetest.F
