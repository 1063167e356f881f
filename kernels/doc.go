// Package kernels is what runs on the device: gathering and scattering the
// fragments of pages, BLAKE3 of their parts, comparing digests. One .cu file
// holds one kernel, with its formula, layout and bounds; Go launches it, and Go
// has a reference that computes the same bytes on the host.
//
// The kernels travel as one PTX text that is committed beside them and made by
// one make target. Open compiles it for the device, or takes the image from a
// pipeline cache, where an earlier start put it.
//
// Every function that takes a Submission only adds steps to it. Device memory
// that a step names has to stay until the step has run.
package kernels
