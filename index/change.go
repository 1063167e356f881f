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
	DidAnnounce    ChangeKind = 6 // Worker, Incarnation
)

// String returns put, remove, clear_worker, clear, expire or announce.
func (k ChangeKind) String() string {
	return [...]string{"", "put", "remove", "clear_worker", "clear", "expire", "announce"}[k]
}

// Change is one change of an index: the call that made it.
type Change struct {
	Seq         uint64
	Kind        ChangeKind
	Records     []Record
	Removals    []Removal
	Worker      string
	Incarnation uint64
	Before      uint64
}
