package msg

// MaxPayloadBytes is the length of the longest payload that is read.
const MaxPayloadBytes = 1 << 30

// MaxHashBytes is the length of the longest bin or str that is taken for a hash.
const MaxHashBytes = 256

// Batch is a view of one payload. It may be decoded into again and again; what it
// returned before is not valid then.
type Batch struct {
	Seconds float64 // the engine's time, since 1970; 0: none
	Rank    int     // data-parallel rank; -1: none
	Events  []Event
	Blocks  int // hashes of all events together
	Unknown int // events with a tag that is not known; they are not among Events

	payload []byte
}

// Kind is an event's tag.
type Kind uint8

// The kinds of events.
const (
	Stored  Kind = 1
	Removed Kind = 2
	Cleared Kind = 3
)

// Medium is where an event's blocks lie, in the engine's words.
type Medium uint8

// The media. An event without one has NoMedium, one with another name OtherMedium.
const (
	NoMedium    Medium = 0
	GPU         Medium = 1 // GPU
	CPU         Medium = 2 // CPU, CPU_PINNED
	Disk        Medium = 3 // DISK
	Storage     Medium = 4 // STORAGE
	External    Medium = 5 // EXTERNAL
	OtherMedium Medium = 6
)

// Locality is whose memory the medium is.
type Locality uint8

// The localities. One with another name is NoLocality.
const (
	NoLocality Locality = 0
	Local      Locality = 1
	Remote     Locality = 2
)

// Event is one event. Its methods take the batch that it is of.
type Event struct {
	Kind     Kind
	Medium   Medium
	Locality Locality
	HasGroup bool
	Group    uint32
	Size     uint32 // tokens in a block; 0: not told
	Tokens   uint32 // token ids that the event has
	Hashes   uint32 // block hashes that it has

	hashes, parent, lora uint32 // where the values are; 0: nowhere
}

// Each calls visit for the hashes of an event, in order, until it returns false.
func (b *Batch) Each(e *Event, visit func(i int, h Hash) bool) {
	r := reader{b: b.payload, at: int(e.hashes)}
	for i := range int(e.Hashes) {
		h, _ := r.hash()
		if !visit(i, h) {
			return
		}
	}
}

// HashReader reads the hashes of an event one by one.
type HashReader struct{ r reader }

// Hashes returns a reader of an event's hashes. Next may be called e.Hashes times.
func (b *Batch) Hashes(e *Event) HashReader {
	return HashReader{reader{b: b.payload, at: int(e.hashes)}}
}

// Next returns the next hash.
func (h *HashReader) Next() Hash {
	v, _ := h.r.hash()
	return v
}

// Parent returns the hash of the block in front of the event's first, if it
// names one.
func (b *Batch) Parent(e *Event) (Hash, bool) {
	if e.parent == 0 {
		return Hash{}, false
	}
	r := reader{b: b.payload, at: int(e.parent)}
	return r.hash()
}

// AppendLoRA appends the name of the event's adapter, or its number if there is
// no name, and reports whether it has one.
func (b *Batch) AppendLoRA(dst []byte, e *Event) ([]byte, bool) {
	if e.lora == 0 {
		return dst, false
	}
	r := reader{b: b.payload, at: int(e.lora)}
	h, ok := r.scalar()
	return h.AppendText(dst), ok
}
