// Package cuda may use cgo.
package cuda

import "C"
