package planes

import (
	"fmt"
	"testing"
)

func BenchmarkEncode(b *testing.B) {
	for _, set := range readPages(b) {
		params := set.tuned(b)
		for _, k := range implementations {
			b.Run(set.name+"/"+k.name, func(b *testing.B) {
				e := Encoder{k: k}
				payload := make([]byte, 0, 2*MaxBytes(set.shape, set.shape.Bytes()))
				b.SetBytes(int64(set.shape.Bytes()))
				b.ReportAllocs()
				for b.Loop() {
					payload, _ = e.Append(payload[:0], set.pages[6], set.shape, params)
				}
			})
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, set := range readPages(b) {
		params := set.tuned(b)
		for _, k := range implementations {
			b.Run(set.name+"/"+k.name, func(b *testing.B) {
				payload, err := new(Encoder).Append(nil, set.pages[6], set.shape, params)
				if err != nil {
					b.Fatal(err)
				}
				d := Decoder{k: k}
				page := make([]byte, set.shape.Bytes())
				b.SetBytes(int64(len(page)))
				b.ReportAllocs()
				for b.Loop() {
					if err := d.Decode(page, payload); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkTune(b *testing.B) {
	for _, set := range readPages(b) {
		for _, n := range []int{1, 4} {
			b.Run(fmt.Sprintf("%s/%d", set.name, n), func(b *testing.B) {
				var t Tuner
				var params []Params
				var err error
				for b.Loop() {
					if params, err = t.Tune(params[:0], set.shape, set.pages[1:1+n]...); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n*set.shape.Segments), "ns/segment")
			})
		}
	}
}

func BenchmarkEstimate(b *testing.B) {
	for _, set := range readPages(b) {
		b.Run(set.name, func(b *testing.B) {
			p := set.tuned(b)[0]
			var e Encoder
			for b.Loop() {
				e.Estimate(set.pages[3][:set.shape.segmentBytes()], set.shape, p)
			}
		})
	}
}
