//go:build cuda

package cuda

import (
	"errors"
	"reflect"

	"github.com/kvferry/kvferry/cuda/internal/driver"
)

// wrap returns an error of gorgonia.org/cu as one of ours. Its type there is not
// exported, but its kind is that of the CUresult.
func wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if v := reflect.ValueOf(e); v.Kind() == reflect.Int {
			return &Error{op, int(v.Int())}
		}
	}
	return &Error{op, unknownCode}
}

// failure returns an error for a CUresult, nil for success.
func failure(op string, code int) error {
	if code == driver.Success {
		return nil
	}
	return &Error{op, code}
}

// result returns how a call of several driver functions ended.
func result(r *driver.Result) error {
	if r.Code() == driver.Success {
		return nil
	}
	return &Error{r.Op(), r.Code()}
}

// codeIn returns the CUresult of an error, 0 if it has none.
func codeIn(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return driver.Success
}

// noted returns err, and marks the device lost if it says so.
func (d *device) noted(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Sticky() {
		d.lost.CompareAndSwap(nil, e)
	}
	return err
}
