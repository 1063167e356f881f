// Package cuda is the only package with driver calls: devices, memory, pinned
// memory, streams, events, copies, modules and launches.
//
// With the build tag cuda it stands on gorgonia.org/cu and, for what that lacks
// or gets wrong, on a small C file of its own. Without the tag it has the same
// exports, and every way to a device answers ErrNoDevice, so that packages over
// it need no tags.
//
// A binary with the tag builds and starts where no driver is installed: the
// driver is looked up when the process starts, and Status says what is missing.
// A function that the installed driver lacks is ErrUnsupported when it is used.
//
// The engine owns the primary context and its flags: Open retains it, Close
// releases it, nothing here resets it. No call needs or changes the caller's
// current context, whatever thread its goroutine runs on, and no call disturbs
// a stream capture that the engine has under way.
//
// Work reaches a stream as a Submission: waits, copies, fills, launches and
// records that are queued by one call into C, however many they are.
//
// Failures of the driver are *Error. One that is sticky loses the device for
// this process: from then on every operation is ErrDeviceLost.
package cuda
