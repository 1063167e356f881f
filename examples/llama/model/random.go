package model

// Random is a small deterministic generator (the splitmix64 sequence). Its
// whole state is one number, which a snapshot can hold.
type Random uint64

// Uint64 returns the next 64 bits.
func (r *Random) Uint64() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Float64 returns the next number in [0, 1).
func (r *Random) Float64() float64 { return float64(r.Uint64()>>11) / (1 << 53) }

// normal returns a number of mean 0 and variance 1 that is near enough to
// normally distributed: the sum of twelve even ones, exact on every machine.
func (r *Random) normal() float32 {
	s := -6.0
	for range 12 {
		s += r.Float64()
	}
	return float32(s)
}
