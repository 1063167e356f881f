// Package lsm is a residency index on Pebble, a log-structured merge tree.
//
// # What is stored
//
// Each record is three entries, see package wire; a write is one batch of them, so
// that all of it is there after a crash or nothing. (Only a removal of more than
// 64 MiB of keys is several, the first of which can be seen, and be there after a
// crash, without the others.) In the same batch go the rows
// of the workers that it changes, so that counts need no scan:
//
//	01 04 worker  ->  seq incarnation lasting bytes volatile bytes      (uvarints)
//	01 05         ->  rules(1) seq limit                                (uvarints)
//
// Worker is written as in package wire. Lasting and volatile are how many records
// the worker has in tiers of the two kinds, each with their bytes; seq is the
// number of the change that wrote the row. The greatest seq of all rows is that of
// the newest change. Numbers up to limit are reserved: where the index was not
// closed it goes on behind them, so that none is used twice after a power failure.
//
// A record that is put again as it is, is not written again; its change is, with the
// row of the worker. Close writes a log that has become long into tables: what it
// leaves opens in milliseconds, and a log of a process that was killed in the time
// that its changes take to be made again.
//
// # What is durable
//
// A write has reached the operating system when it returns: it survives the end
// of the process. Flush, or every write if Options say Sync, synchronises the
// log, and then notes in the file "flushed" the number of the newest change that
// was. If Pebble finds an older state when it opens the directory, the log is
// damaged where a power failure could not have damaged it, and Open is ErrCorrupt.
// The file "manifest" says the same of Pebble's newest list of tables, since Pebble
// takes damage in it for its end. Both have two places of 24 bytes, little-endian,
// that are written in turns:
//
//	flushed    seq(8)     zeros(8)                crc32c(4) zeros(4)
//	manifest   number(8)  crc32c(4) length(4)     crc32c(4) zeros(4)
//
// # Failures
//
// After a write failed, of a table in the background too, nothing more is
// written: the first caller to see it gets its reason, the others
// kvferry.ErrPoisoned. What the failed call put may be seen until the index is
// closed. Reading goes on.
package lsm
