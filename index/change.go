package index

// ChangeKind is what a change did.
type ChangeKind uint8

// The kinds are the calls of Writer and Announcer.
const (
	DidPut         ChangeKind = 1 // Records
	DidRemove      ChangeKind = 2 // Removals
	DidClearWorker ChangeKind = 3 // Worker
	DidClear       ChangeKind = 4
	DidExpire      ChangeKind = 5 // Before
	DidAnnounce    ChangeKind = 6 // Worker, Incarnation, Gone, Records
)

// String returns put, remove, clear_worker, clear, expire or announce.
func (k ChangeKind) String() string {
	return [...]string{"", "put", "remove", "clear_worker", "clear", "expire", "announce"}[k]
}

// Change is one change of an index: the call that made it. An announcement says
// besides what it did, because that depends on what a snapshot does not have:
// incarnations and stale records.
type Change struct {
	Seq         uint64
	Kind        ChangeKind
	Records     []Record // put, or stale ones that an announcement made live again
	Removals    []Removal
	Worker      string
	Incarnation uint64
	Gone        bool // the announcement removed the worker's records in volatile tiers
	Before      uint64
}
