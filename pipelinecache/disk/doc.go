// Package disk keeps artifacts in a directory, a file each.
//
// # Directory
//
// It is flat, and the same as that of vyre-runtime 0.7; both may use one at the
// same time. H is a fingerprint, 64 lower-case hexadecimal digits:
//
//	H.bin                 the frame of an artifact, see package pipelinecache
//	.H-R.bin.tmp          a frame that is being written; R is 16 random digits
//	.H.bin.corrupt        a file that was damaged, set aside: at most one for each H
//	anything else         foreign: never read, changed or removed
//
// There is no index and no lock file. A put writes a temporary file and renames
// it, so a reader sees the old frame or the new one, and whoever dies leaves
// temporary files at most. The next Open removes those that are older than
// Options.StaleAge and that no process holds the lock (flock) of.
//
// # Durability
//
// A put does not wait for the disk. After a power failure without a Flush the
// file of a put may be there and empty, short, or anything: its hash makes that
// a miss. What was cached for the fingerprint before is then lost, too.
//
// Flush synchronises the data of each file put before, at most 16 at a time,
// and then the directory. What fails stays pending. After a failure of the disk
// the system may call a file synchronised that is not, the next time: again, a
// miss at worst.
//
// # Damage
//
// What is under a name and cannot be used is a miss. A file that is damaged
// (cut, flipped, garbage) would be hashed in vain at every Get, so the first one
// sets it aside, removes it or leaves it: Options.Damaged. What is sound but not
// for this reader stays where it is: a newer schema, and an unversioned file
// (vyre-runtime 0.6) that Options.Unversioned does not allow. Neither links nor
// directories nor devices are followed, opened or removed; a Put replaces a link.
//
// # Budget
//
// With Options.BudgetBytes, puts remove what was used least recently until the
// files fit. The order is in memory. It starts with the times of the files and
// is kept by puts and hits, which renew a file's access time once an hour, so
// that it outlives the process. What other processes put, use and remove is
// noticed: when a file is asked for, when it would be removed, and in a listing
// of the directory every so many puts. Between two listings the files may exceed
// the budget by what others put.
package disk
