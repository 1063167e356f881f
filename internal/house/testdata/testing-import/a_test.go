package bad

import "testing"

func TestA(*testing.T) {}
