//go:build !cuda

package cuda

import (
	"context"
	"fmt"
	"time"

	"github.com/kvferry/kvferry"
)

// errNone is the answer of every way to a device.
var errNone = fmt.Errorf("cuda: this build has no GPU support: build with -tags cuda: %w", kvferry.ErrNoDevice)

// Nobody gets a Device, so the methods are never called on one that works.
type (
	device   struct{}
	memory   struct{}
	pinned   struct{}
	stream   struct{}
	event    struct{}
	module   struct{}
	function struct{}
)

func driverStatus() error                                  { return errNone }
func driverVersion() (Version, error)                      { return 0, errNone }
func deviceCount() (int, error)                            { return 0, errNone }
func open(int, Options) (*Device, error)                   { return nil, errNone }
func (*device) close() error                               { return errNone }
func (*device) facts() Facts                               { return Facts{NUMANode: -1} }
func (*device) err() error                                 { return errNone }
func (*device) synchronize() error                         { return errNone }
func (*device) memoryInfo() (free, total int64, err error) { return 0, 0, errNone }

func (*device) alloc(int64) (*Memory, error)       { return nil, errNone }
func (*device) pointer(Ptr) (Pointer, error)       { return Pointer{}, errNone }
func (*device) checkRange(Ptr, int64) error        { return errNone }
func (*device) ipc(Ptr) (IPCHandle, error)         { return IPCHandle{}, errNone }
func (*device) openIPC(IPCHandle) (*Memory, error) { return nil, errNone }
func (*memory) ptr() Ptr                           { return 0 }
func (*memory) bytes() int64                       { return 0 }
func (*memory) free() error                        { return errNone }

func (*device) pin(int64, PinOptions) (*Pinned, error)         { return nil, errNone }
func (*device) register([]byte, PinOptions) (*Pinned, error)   { return nil, errNone }
func (*device) isPinned([]byte) bool                           { return false }
func (*device) allocatePinned(int, PinOptions) ([]byte, error) { return nil, errNone }
func (*device) freePinned([]byte) error                        { return errNone }
func (*pinned) view() []byte                                   { return nil }
func (*pinned) devicePtr() Ptr                                 { return 0 }
func (*pinned) close() error                                   { return errNone }

func (*device) newStream(StreamOptions) (*Stream, error) { return nil, errNone }
func (*device) foreignStream(uintptr) (*Stream, error)   { return nil, errNone }
func (*stream) handle() uintptr                          { return 0 }
func (*stream) submit(*Submission) (int, error)          { return 0, errNone }
func (*stream) capturing() (bool, error)                 { return false, errNone }
func (*stream) synchronize() error                       { return errNone }
func (*stream) close() error                             { return errNone }

func (*device) newEvent(EventOptions) (*Event, error) { return nil, errNone }
func (*device) foreignEvent(uintptr) (*Event, error)  { return nil, errNone }
func (*event) handle() uintptr                        { return 0 }
func (*event) done() (bool, error)                    { return false, errNone }
func (*event) wait(context.Context) error             { return errNone }
func (*event) elapsed(*Event) (time.Duration, error)  { return 0, errNone }
func (*event) close() error                           { return errNone }

func (*device) link([]byte, LinkOptions) ([]byte, string, error) { return nil, "", errNone }
func (*device) load([]byte) (*Module, error)                     { return nil, errNone }
func (*module) function(string) (*Function, error)               { return nil, errNone }
func (*module) close() error                                     { return errNone }
func (*function) handle() uintptr                                { return 0 }
func (*function) facts() (FunctionFacts, error)                  { return FunctionFacts{}, errNone }
