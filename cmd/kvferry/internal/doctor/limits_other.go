//go:build !linux && !darwin

package doctor

import "errors"

func memlock() int64 { return 0 }

func space(string) (free, total int64, err error) {
	return 0, 0, errors.New("free space is not known on this system")
}
