// Package events feeds a residency index from the KV events of serving engines:
// vLLM's and SGLang's, over ZeroMQ or in JSON.
//
// # From the socket
//
// A [Subscriber] takes messages of three frames from each [Source]:
//
//	topic | sequence number (8 bytes, big-endian) | batch of events in msgpack, see package msg
//
// Sequence numbers begin at 0 in each process of an engine. What the stream of one
// publisher does decides what the index is told:
//
//	next number            the batch is ingested
//	a number beyond it     the gap is closed from the engine's replay socket; else the worker is cleared
//	a smaller number       the same batch again: ignored. Another one: the engine began anew, the worker is
//	                       cleared, announced with a new incarnation, and what came before is replayed
//	a batch that cannot    is replayed, and if that is no better, the worker is cleared
//	be read
//	a new connection       with a replay socket: the last batch that was taken is compared with the
//	                       engine's, and what came behind it is taken
//	the first of all       the worker is announced; with a replay socket, what came before is taken
//
// Clearing a worker may lose what it holds, and never says that it holds what it
// does not. Without a replay socket one thing is not noticed: an engine that began
// anew, and whose next message that we see has just the number that was expected.
//
// A replay is asked for at a ROUTER socket, by a DEALER:
//
//	request  "" | first sequence number (8)
//	answer   "" | topic (not of older engines) | sequence number (8) | batch
//	last     "" | topic, empty                 | ff * 8              | empty
//
// Each connection is read by one goroutine, which decodes, ingests and writes to
// the index, too. What it holds back is written before it waits for the socket,
// so an index that is slow or away stops the reading, TCP stops the publisher, and
// its high-water mark decides what is dropped; that will be a gap. Nothing waits
// in a queue of ours.
//
// ZeroMQ's protocol is spoken by internal/zmtp and not by a library. The pure Go
// library of that name, go-zeromq/zmq4 0.17.0, took 100,000 messages of 600 bytes
// in 1.6 s with 11 allocations for each, reads each frame with two system calls,
// queues 1,024 messages of any length, shows a lost connection to its user as an
// error like any other, knows no PING, and ends the whole process when a peer sends
// nine bytes: a frame length that cannot be allocated. libzmq needs cgo, which the
// default build does without. What a subscriber needs of the protocol is small,
// and `make check-events` holds it against libzmq itself.
//
// # Workers
//
// A worker is one data-parallel rank of an engine, see [WorkerName]. With
// WorkerFromTopic a topic "kv@worker@model" names it. AllBlocksCleared clears the
// rank that sent it, offload tiers included: engines send no removals for these.
//
// No engine may have a name that is that of another's further rank, see [CheckName].
//
// # Lives
//
// In an index whose workers have leases (index.Joiner: Redis) several may follow one
// engine, and none of them may take away what the others have put:
//
//	the first of all       the worker is joined: the life that it has goes on. Only if that is the
//	                       engine's first batch of all, heard or replayed, is what was there cleared
//	engine began anew      who sees it first clears the worker and begins the next life, the others
//	                       join that
//	publisher away         the lease is let go, nothing is cleared; when it is back the worker is joined
//	                       again, and if its life ended meanwhile, what the engine can replay is taken
//	lease ran out          what was remembered is forgotten, what the engine can replay is taken
//	gap without a replay   the worker is cleared, for all who follow it: what was removed is not known
//
// One thing is not noticed there without a replay socket: what an engine removed, or
// lost when it began anew, while nobody followed it for less than the lease. See
// [FollowLeases].
//
// # Keys
//
// An event tells of a chain of blocks behind a parent. A record's Index is the
// parent's and one more, if the parent's is known; if not, blocks are counted
// from the event's first. What an offload tier tells (neither tokens nor a parent)
// is completed with what the same worker was told before: parent, index, adapter
// and tokens. If there is nothing, the parent is "", which Match takes for any.
// When an event says more or otherwise of a block than what its records say, they
// move to the new key: the records of one worker's block in several tiers have
// one key. A sliding window's event with fewer hashes than tokens leaves out
// blocks, it is not known which: its parents are not known either.
//
// A removal is of the named tier, or of all if none is named; of the named KV
// group, or of all; of every adapter, since engines do not name it. What has an
// unknown medium is counted and skipped.
//
// All that is remembered for that is 64 bytes for each block that a worker holds,
// outside the view of the collector, up to Engine.MaxBlocks.
//
// # In JSON
//
// [ParseJSON] reads the batches of POST /v1/kv-events as the original does;
// [Intake] takes them by the rules above, [IngestAsOriginal] by the original's.
package events
