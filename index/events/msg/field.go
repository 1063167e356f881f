package msg

// field is what an event may have that is looked at.
type field uint8

const (
	fOther field = iota
	fType
	fHashes
	fParent
	fTokens
	fSize
	fLoRAID
	fMedium
	fLoRAName
	fGroup
	fLocality
)

// positions are the fields in the order of the positional form, behind the tag.
var positions = [...][]field{
	0:       nil,
	Stored:  {fHashes, fParent, fTokens, fSize, fLoRAID, fMedium, fLoRAName, fOther, fGroup, fOther, fOther, fLocality},
	Removed: {fHashes, fMedium, fGroup, fLocality},
	Cleared: nil,
}

func fieldOf(name []byte) field {
	switch string(name) {
	case "type":
		return fType
	case "block_hashes":
		return fHashes
	case "parent_block_hash":
		return fParent
	case "token_ids":
		return fTokens
	case "block_size":
		return fSize
	case "lora_id":
		return fLoRAID
	case "medium":
		return fMedium
	case "lora_name":
		return fLoRAName
	case "group_idx":
		return fGroup
	case "locality":
		return fLocality
	}
	return fOther
}

// read reads the value of a field. nil is the same as no field.
func (e *Event) read(r *reader, f field) (ok bool) {
	if f == fOther {
		return r.skip(1)
	}
	if r.at < len(r.b) && r.b[r.at] == nilByte {
		r.at++
		return f != fType && f != fHashes
	}
	at := uint32(r.at)
	switch f {
	case fType:
		var name []byte
		name, ok = r.text()
		e.Kind = kindOf(name)
	case fHashes:
		e.hashes, e.Hashes, ok = r.hashes()
	case fParent:
		e.parent = at
		_, ok = r.hash()
	case fTokens:
		var n int
		n, ok = r.array()
		e.Tokens = uint32(n)
		ok = ok && r.skip(n)
	case fSize:
		e.Size, ok = r.uint32()
	case fGroup:
		e.HasGroup = true
		e.Group, ok = r.uint32()
	case fMedium, fLocality:
		var name []byte
		name, ok = r.text()
		e.place(f, name)
	default:
		ok = e.adapter(r, f, at)
	}
	return ok
}

// adapter reads lora_id or lora_name. A name is worth more than a number, and
// whichever comes last must not hide it. SGLang has a map where vLLM has the name.
func (e *Event) adapter(r *reader, f field, at uint32) bool {
	if f == fLoRAName && isStr(r.peek()) {
		e.lora = at
		_, ok := r.text()
		return ok
	}
	if f == fLoRAID && (e.lora == 0 || !isStr(r.b[e.lora])) {
		e.lora = at
		h, ok := r.scalar()
		return ok && h.Kind != Bytes
	}
	return r.skip(1)
}

// hashes reads an array of hashes and returns where the first is.
func (r *reader) hashes() (at, n uint32, ok bool) {
	count, ok := r.array()
	at = uint32(r.at)
	for i := 0; ok && i < count; i++ {
		_, ok = r.hash()
	}
	return at, uint32(count), ok
}

func kindOf(tag []byte) Kind {
	switch string(tag) {
	case "BlockStored":
		return Stored
	case "BlockRemoved":
		return Removed
	case "AllBlocksCleared":
		return Cleared
	}
	return 0
}

// place notes a medium or locality.
func (e *Event) place(f field, name []byte) {
	if f == fLocality {
		switch string(name) {
		case "LOCAL":
			e.Locality = Local
		case "REMOTE":
			e.Locality = Remote
		}
		return
	}
	switch string(name) {
	case "GPU":
		e.Medium = GPU
	case "CPU", "CPU_PINNED":
		e.Medium = CPU
	case "DISK":
		e.Medium = Disk
	case "STORAGE":
		e.Medium = Storage
	case "EXTERNAL":
		e.Medium = External
	default:
		e.Medium = OtherMedium
	}
}
