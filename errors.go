// Package kvferry moves paged KV caches of LLM serving engines out of GPU
// memory and back, bit for bit.
//
// The root package holds only the errors that every other package reports, so
// that a caller tests an outcome with errors.Is in one vocabulary, whatever
// layer it came from. The two outcomes that Go already has a value for keep
// it: a cancelled wait is context.Canceled and a wait that ran out of time is
// context.DeadlineExceeded.
package kvferry

import "errors"

// The outcomes of kvferry's operations. Every error that a package of this
// module returns for one of these reasons wraps the sentinel with %w and adds
// the operation and the key.
var (
	// ErrNotFound is returned when a blob, snapshot, name, page or sequence
	// does not exist.
	ErrNotFound = errors.New("kvferry: not found")

	// ErrCorrupt is returned when stored or received bytes are not what was
	// written: a digest, checksum, length or structure does not hold. Nothing
	// of such bytes has been handed on.
	ErrCorrupt = errors.New("kvferry: corrupt data")

	// ErrClosed is returned by every operation on a store, session, ring or
	// pager after it was closed.
	ErrClosed = errors.New("kvferry: already closed")

	// ErrInvalid is returned when an argument cannot be right: a malformed
	// digest or name, a wrong buffer length, an impossible geometry.
	ErrInvalid = errors.New("kvferry: invalid argument")

	// ErrAmbiguous is returned when a digest prefix names several snapshots.
	ErrAmbiguous = errors.New("kvferry: ambiguous reference")

	// ErrShortBuffer is returned when the caller's buffer cannot hold the
	// plain bytes of a blob. The buffer's content is unspecified.
	ErrShortBuffer = errors.New("kvferry: buffer too short")

	// ErrReadOnly is returned by writes to a store that was opened for reading
	// or that lies on a read-only file system.
	ErrReadOnly = errors.New("kvferry: read-only store")

	// ErrQuota is returned when a write would exceed the store's byte quota.
	// What was committed before is unchanged.
	ErrQuota = errors.New("kvferry: quota exceeded")

	// ErrNoSpace is returned when the file system or device below a store is
	// full. What was committed before is unchanged.
	ErrNoSpace = errors.New("kvferry: no space left")

	// ErrPoisoned is returned by writes after a write or synchronisation of the
	// same file failed: what was not durable before may be lost, and trying
	// again could not tell. What was acknowledged before is unchanged. Opening
	// the store again starts anew from what is on the disk.
	ErrPoisoned = errors.New("kvferry: stopped after a failed write")

	// ErrOutOfMemory is returned when an engine has too few free pages, or
	// when host, pinned or device memory cannot be had.
	ErrOutOfMemory = errors.New("kvferry: out of memory")

	// ErrNotEmpty is returned by a restore into a pager that already holds
	// pages or sequences, unless the caller allowed it.
	ErrNotEmpty = errors.New("kvferry: pager is not empty")

	// ErrExists is returned when a sequence id is already taken in the engine
	// that it would be restored into.
	ErrExists = errors.New("kvferry: already exists")

	// ErrLayoutMismatch is returned when the canonical form of a snapshot is
	// not the canonical form of the pager that it would be restored into.
	ErrLayoutMismatch = errors.New("kvferry: layout mismatch")

	// ErrIdentityMismatch is returned when a snapshot was taken of another
	// model, weights, tokenizer, adapter, tenant, rank or world.
	ErrIdentityMismatch = errors.New("kvferry: identity mismatch")

	// ErrUnsupported is returned for a format, version, codec or ability that
	// this build does not have.
	ErrUnsupported = errors.New("kvferry: unsupported")

	// ErrExpired is returned by a session whose lease ran out: what it stored
	// may have been collected, so it can only be aborted.
	ErrExpired = errors.New("kvferry: lease expired")

	// ErrUnknownOutcome is returned when an asynchronous copy could not be
	// driven to its end: bytes may still move, the memory involved stays
	// fenced and must not be reused. It is also returned when the answer to a
	// write over a network was lost: it may have been applied.
	ErrUnknownOutcome = errors.New("kvferry: outcome unknown")

	// ErrNoDevice is returned when there is no GPU, driver or permission to
	// use one, or when the build has no GPU support.
	ErrNoDevice = errors.New("kvferry: no device")

	// ErrDeviceLost is returned after a sticky device error: the device cannot
	// be used any more by this process.
	ErrDeviceLost = errors.New("kvferry: device lost")
)
