//go:build !(linux || darwin || freebsd)

package vfs

import "errors"

// OS is errors.ErrUnsupported on this system.
func OS(root string) (FS, error) { return nil, failure("open", root, errors.ErrUnsupported) }
