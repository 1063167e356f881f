package index

// Query asks how much of a prompt each worker holds.
//
// Position i is resident on a worker if it has a live record with the scope, the
// group and hash i, whose Prefix is hash i-1 (of the first: Root), or "" where
// the parent is not known. The positions of records are not looked at: engines
// number blocks from the event that told of them.
type Query struct {
	Scope
	Hashes  []string // of the prompt's blocks, from its first
	Group   uint32
	Workers []string // only these; nil: all
}

// Match is the share of a prompt that one worker holds. Workers that hold nothing
// of it have none. Matches come with the longest first, equal ones by the
// worker's name.
type Match struct {
	Worker string
	// Blocks is the length of the longest prefix of the prompt of which every
	// block is in some tier of the worker.
	Blocks int
	// InTier is, for each tier, the length of the longest prefix that is in that
	// tier alone.
	InTier [Tiers]int
}
