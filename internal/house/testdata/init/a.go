// Package bad registers itself.
package bad

type t struct{}

func (t) init() {}

func init() {}
