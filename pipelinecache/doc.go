// Package pipelinecache keeps compiled GPU kernels ("pipelines") by
// fingerprint, so that a process starts warm. It is the contract of such caches
// and the format of their files; memory, disk, layered and remote implement it,
// pipelinetest holds the suite that all of them pass.
//
// What is cached can always be made again: losing it costs time, and serving
// the wrong bytes costs correctness. So nothing is served that is not whole, and
// every error of a Get is a miss: the caller compiles. An artifact is opaque
// here; who uses it still has to admit it (load the module, check what it is).
//
// The formats and the semantics are those of vyre-runtime's pipeline cache 0.7
// (VPC0); each package says where it goes beyond them.
//
// # Fingerprint
//
// A [Fingerprint] is 32 opaque bytes, in text 64 lower-case hexadecimal digits.
// That of a [Kernel] is BLAKE3-256, without a key, of
//
//	offset  size  content
//	0          8  length of the label, u64 little-endian: 29
//	8         29  "kvferry kernel fingerprint v1", ASCII
//	37         8  length of the PTX in bytes
//	..         n  the PTX, as it is given to the driver
//	..         8  length of the compute capability's text
//	..         n  compute capability, decimal: "9.0"
//	..         8  length of the driver version's text
//	..         n  driver version, decimal, as cuDriverGetVersion returns it: "13000"
//	..         8  number of link options
//	           for each of them, in the order given to the linker:
//	..         8    length of the option
//	..         n    the option
//
// Each length stands in front of what it measures, so no two kernels have the
// same bytes.
//
// # File
//
// One artifact in a file, or in the body of an HTTP response, is a frame:
//
//	offset  size  content
//	0          4  magic "VPC0": 56 50 43 30
//	4          2  schema version, u16 little-endian: 1
//	6          n  the artifact, 0 to 67108864 bytes
//	6+n       32  BLAKE3-256, without a key, of all bytes before
//
// There is no length: what the file's length leaves is the artifact, and the
// hash alone tells a file that was cut off. A later schema has another number,
// and readers of this one miss.
//
// Before there were versions (vyre-runtime 0.6) a file was the artifact and 32
// bytes of BLAKE3 of it. Every frame with a magic is one of those, too, with six
// bytes too many in front, so a reader that accepts both looks for the magic
// first: see [ParseFrame] and [ParseLegacy].
package pipelinecache
