package main

import (
	"errors"
	"fmt"

	"github.com/kvferry/kvferry/cuda"
)

// measurePinning takes the time until host memory can be copied to and from.
// What does not fit is halved until it does.
func measurePinning(b *bench) error {
	if err := b.open(); err != nil {
		return err
	}
	for k, size := range b.scale.pinBytes {
		r := &row{What: "pin", With: bytesText(size), Unit: seconds, Bytes: size}
		if k == len(b.scale.pinBytes)-1 {
			r.Goal = goalPinning
		}
		err := b.measure(r, func(r *row) error {
			for {
				took, err := clocked(func() error { return b.pinOnce(r.Bytes) })()
				switch {
				case err == nil:
					r.Samples = append(r.Samples, took)
					r.Note = joinNotes(r.Note, perSecond.text(float64(r.Bytes)/took)+", touched and unpinned again")
					return nil
				case r.Bytes < 2<<20 || b.late():
					return err
				}
				r.Note = fmt.Sprintf("%s could not be pinned: %v", bytesText(r.Bytes), err)
				r.Bytes /= 2
				r.With, r.Goal = bytesText(r.Bytes), ""
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) pinOnce(size int64) (err error) {
	p, err := b.device.Pin(size, cuda.PinOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if int64(len(p.Bytes())) < size {
		return fmt.Errorf("%d bytes instead of %d: %w", len(p.Bytes()), size, errWrong)
	}
	return nil
}
