package events

// DefaultBytesPerBlock is the size of a block where neither the event nor the
// batch nor the engine tells one.
const DefaultBytesPerBlock = 4 << 20

// Batch is what POST /v1/kv-events takes: events of one engine, in order. nil
// and empty are not the same.
type Batch struct {
	EngineID      string
	Millis        *uint64
	Model         *string
	Tokenizer     *string
	Adapter       *string
	Tenant        *string
	BytesPerBlock *uint64
	Events        []Event
}

// Kind is what an event tells.
type Kind uint8

// The kinds of events.
const (
	Stored  Kind = 1
	Removed Kind = 2
	Cleared Kind = 3
)

// String returns block_stored, block_removed or all_blocks_cleared.
func (k Kind) String() string {
	return [...]string{"", "block_stored", "block_removed", "all_blocks_cleared"}[k]
}

// Event is one event of a Batch. Cleared has no fields, Removed has Hashes, Medium
// and Group.
type Event struct {
	Kind          Kind
	Hashes        []string
	Parent        *string
	TokenIDs      []uint32
	BlockSize     uint32
	Medium        *string
	LoRA          *string
	Group         *uint32
	BytesPerBlock *uint64
}

// Endpoint is an engine as the original's configuration has it: what holds where
// its batches say nothing.
type Endpoint struct {
	ID             string `json:"id"`
	Kind           string `json:"kind"`
	Role           string `json:"role"`
	BaseURL        string `json:"base_url"`
	Model          string `json:"model_id"`
	Tokenizer      string `json:"tokenizer_id"`
	Tenant         string `json:"tenant_id"`
	LocalityDomain string `json:"locality_domain"`
	// Subscribed: a Subscriber takes its events, an Intake refuses them. Two that
	// follow one engine do not know of each other what it holds.
	Subscribed bool `json:"-"`
}

// Summary says what a batch did.
type Summary struct {
	StoredBlocks  uint64 `json:"stored_blocks"`
	RemovedBlocks uint64 `json:"removed_blocks"`
	Cleared       bool   `json:"cleared"`
	TotalResident uint64 `json:"total_resident_blocks"`
}
