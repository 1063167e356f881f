// Package glue may not: internal is no excuse.
package glue

import "C"
