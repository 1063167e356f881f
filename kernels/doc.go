// Package kernels is what runs on the device: gathering and scattering the
// fragments of pages, BLAKE3 of their parts, comparing digests, coding pages as
// package codec/planes does. One .cu file holds one kernel, with its formula,
// layout and bounds; Go launches it, and Go has a reference that computes the
// same bytes on the host.
//
// The kernels travel as one PTX text that is committed beside them and made by
// `make ptx`; its first line names the sources by their hash. Open compiles it
// for the device, or takes the image from a pipeline cache, where an earlier
// start put it.
//
// Every function that takes a Submission only adds steps to it, or none if it
// returns an error, and allocates nothing once the Submission's memory is
// there. Device memory that a step names has to stay until the step has run.
// What only the device knows is the caller's: that page numbers are pages of the
// engine's memory, and that a scatter names no page twice.
package kernels
