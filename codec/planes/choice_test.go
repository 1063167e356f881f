package planes

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
)

func TestUse(t *testing.T) {
	names := Kernels()
	require.Equal(t, Active(), names[0])
	require.Equal(t, "portable", names[len(names)-1])
	s := Shape{1, 16, 64}
	page := makePage(s, 0, 3)
	for _, name := range known {
		var e Encoder
		var d Decoder
		if !slices.Contains(names, name) {
			require.ErrorIs(t, e.Use(name), kvferry.ErrUnsupported)
			require.ErrorIs(t, d.Use(name), kvferry.ErrUnsupported)
			continue
		}
		require.NoError(t, e.Use(name))
		require.NoError(t, d.Use(name))
		payload, err := e.Append(nil, page, s, []Params{{First: 120}})
		require.NoError(t, err)
		require.NoError(t, d.Decode(make([]byte, len(page)), payload))
		require.Equal(t, name, e.k.name)
		require.Equal(t, name, d.k.name)
		require.ErrorIs(t, e.Use("mmx"), kvferry.ErrInvalid)
		require.Equal(t, name, e.k.name)
	}
	for _, name := range names {
		require.Contains(t, known, name)
	}
}
