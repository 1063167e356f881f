// Package sqlitehost may use cgo: it is a module of its own.
package sqlitehost

import "C"
