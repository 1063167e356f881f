package zmtp

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNamesOf255Bytes: the longest name that a length byte can tell.
func TestNamesOf255Bytes(t *testing.T) {
	t.Parallel()
	long := bytes.Repeat([]byte("x"), 255)
	name, body, err := splitCommand(append(append([]byte{255}, long...), "rest"...))
	require.NoError(t, err)
	require.Equal(t, string(long), name)
	require.Equal(t, "rest", string(body))
	require.ErrorContains(t, refused(append([]byte{255}, long...)), string(long))
}
