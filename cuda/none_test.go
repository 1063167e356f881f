//go:build !cuda

package cuda_test

import (
	"context"
	"reflect"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
)

// TestNoBackEnd: without the tag every way to a device, and every method of what
// nobody can have, answers ErrNoDevice, or nothing.
func TestNoBackEnd(t *testing.T) {
	t.Parallel()
	require.ErrorIs(t, cuda.Status(), kvferry.ErrNoDevice)
	require.ErrorContains(t, cuda.Status(), "-tags cuda")
	_, err := cuda.DriverVersion()
	require.ErrorIs(t, err, kvferry.ErrNoDevice)
	n, err := cuda.Count()
	require.ErrorIs(t, err, kvferry.ErrNoDevice)
	require.Zero(t, n)
	d, err := cuda.Open(0, cuda.Options{})
	require.ErrorIs(t, err, kvferry.ErrNoDevice)
	require.Nil(t, d)

	methods := 0
	for _, thing := range []any{
		&cuda.Device{}, &cuda.Memory{}, &cuda.Pinned{}, &cuda.Stream{}, &cuda.Event{}, &cuda.Module{}, &cuda.Function{},
		(&cuda.Device{}).Allocator(cuda.PinOptions{}),
	} {
		v := reflect.ValueOf(thing)
		for i := range v.NumMethod() {
			method, name := v.Method(i), v.Type().String()+"."+v.Type().Method(i).Name
			require.True(t, unicode.IsUpper(rune(v.Type().Method(i).Name[0])))
			methods++
			answers(t, name, method.Call(arguments(method.Type())))
		}
	}
	require.Greater(t, methods, 35)
}

func arguments(method reflect.Type) []reflect.Value {
	var args []reflect.Value
	for i := range method.NumIn() {
		if method.In(i) == reflect.TypeFor[context.Context]() {
			args = append(args, reflect.ValueOf(context.Background()))
			continue
		}
		args = append(args, reflect.Zero(method.In(i)))
	}
	return args
}

// answers: the error, if there is one to return, is ErrNoDevice; the rest is zero.
func answers(t *testing.T, name string, results []reflect.Value) {
	t.Helper()
	for _, r := range results {
		switch v := r.Interface().(type) {
		case error:
			require.ErrorIs(t, v, kvferry.ErrNoDevice, name)
		case cuda.Facts:
			require.Equal(t, cuda.Facts{NUMANode: -1}, v)
		case *cuda.Allocator:
			require.NotNil(t, v)
		default:
			require.True(t, r.IsZero(), "%s: %v", name, v)
		}
		require.False(t, r.Type() == reflect.TypeFor[error]() && r.IsNil(), name)
	}
}
