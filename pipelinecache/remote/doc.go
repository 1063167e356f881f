// Package remote fetches artifacts over HTTP, and serves a directory of them.
//
// # Protocol
//
// It is that of vyre-runtime 0.7, whose clients the Handler serves and whose
// servers the Client asks. H is a fingerprint, 64 lower-case hexadecimal digits:
//
//	GET BASE/H.bin                          BASE without slashes at its end
//
//	200                                     a client takes any status from 200 to 299
//	x-vyre-cache-fingerprint: H             exactly
//	x-vyre-cache-source-provenance: TEXT    not empty: what the kernels were built from
//	x-vyre-cache-device-compatibility: TEXT not empty: what they run on
//
//	the frame of the artifact, see package pipelinecache
//
// Each header is there once. A client refuses an artifact whose header is
// missing or empty, or is not what the client was told to require; those of an
// answer it refuses for another reason do not matter.
//
// # Client
//
// It reads only. An artifact that the server does not have (404) is
// ErrNotFound; everything else is a miss, too, but counted apart: see [Failures].
// Nothing waits for ever: connecting, the head of the answer and all of it have
// their deadlines. Redirects are followed within the same scheme, host and port.
//
// No answer makes it allocate by what a header announces: the buffer grows with
// what arrives, to the longest frame at most. Compressed answers are neither
// asked for nor unpacked. No proxy is used.
//
// The frame's hash tells an artifact that was damaged on its way, not one that
// somebody made: who can answer decides which kernels run. Use https where that
// matters, and Options.TLS where certificates of the system are not it.
//
// # Handler
//
// It answers GET and HEAD of /H.bin and nothing else; there is no listing, and
// ranges are refused. It reads and checks the whole file before the first byte
// of the answer: a status cannot be taken back, and an answer that breaks off in
// the middle costs every client its time. So a damaged file, and one of another
// schema, is a 404. This takes the memory of a file for each answer, and
// HandlerOptions bound how many there are, and how long a slow client may take.
package remote
