package indextest

import (
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

var crashTests = []test{
	{name: "what was flushed is there after a crash", crashes: true, run: testCrash},
	{name: "crash after crash", crashes: true, run: testCrashOften},
}

func (s *subject) crash() {
	s.Helper()
	s.Index = s.config.Crash(s.T, s.Index, s.options)
	require.NotNil(s, s.Index)
}

// lastingOnly leaves out what would be stale after an opening.
func lastingOnly(rs []index.Record) []index.Record {
	var out []index.Record
	for _, r := range rs {
		if !r.Tier.Volatile() {
			out = append(out, r)
		}
	}
	return out
}

// testCrash makes changes and flushes in the midst of them. What is there after the
// crash is what was there behind the Flush, and behind each change since then up
// to one of them.
func testCrash(s *subject) {
	for i := range 4 {
		u := newUniverse(runSeed(s, uint64(i)))
		s = open(s.T, s.config, s.options)
		m := NewModel(s.options)
		var states [][]index.Record // lasting records behind the Flush and each later change
		for n := range 120 {
			o := u.write()
			want, got := o.apply(s.Context(), m), o.apply(s.Context(), s)
			require.NoError(s, same(&want, &got), "%v", o)
			if n == 80 {
				require.NoError(s, s.Flush(s.Context()))
				states = nil
			}
			rs, err := snapshot(s.Context(), m)
			require.NoError(s, err)
			states = append(states, lastingOnly(rs))
		}
		s.crash()
		got := s.all()
		var err error
		for _, want := range states {
			if err = sameRecords(want, got); err == nil {
				break
			}
		}
		require.NoError(s, err, "the records after a crash are none of those behind the latest Flush; compared with the last")
	}
}

func testCrashOften(s *subject) {
	var rs []index.Record
	for i := range 8 {
		r := with(block(index.Root, fmt.Sprint("b", i), "w", index.LocalSSD), func(r *index.Record) { r.Index = uint32(i) })
		rs = append(rs, r)
		s.put(r)
		require.NoError(s, s.Flush(s.Context()))
		if i == 5 {
			require.Equal(s, 1, s.remove(removalOf(&rs[0])))
			require.NoError(s, s.Flush(s.Context()))
			rs = rs[1:]
		}
		s.crash()
		s.holds(rs...)
	}
}
