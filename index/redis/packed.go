package redis

// unpack reads a MessagePack array of strings, which is how scripts keep changes.
// They are parts of s.
func unpack(s string) ([]string, error) {
	n, s, ok := count(s, 0x90, 16, 0, 0xdc, 0xdd)
	if !ok || n > uint64(len(s)) { // a string has at least one byte
		return nil, corrupt("read", "packed list")
	}
	dst := make([]string, 0, n)
	for range n {
		var size uint64
		if size, s, ok = count(s, 0xa0, 32, 0xd9, 0xda, 0xdb); !ok || size > uint64(len(s)) {
			return nil, corrupt("read", "packed list")
		}
		dst = append(dst, s[:size])
		s = s[size:]
	}
	if s != "" {
		return nil, corrupt("read", "packed list")
	}
	return dst, nil
}

// count reads a length: in the tag itself if it is below limit, or in one, two or
// four bytes behind its tag.
func count(s string, fix byte, limit int, one, two, four byte) (n uint64, rest string, ok bool) {
	if s == "" {
		return 0, "", false
	}
	tag := s[0]
	s = s[1:]
	size := 0
	switch {
	case tag >= fix && int(tag) < int(fix)+limit:
		return uint64(tag - fix), s, true
	case tag == one && one != 0:
		size = 1
	case tag == two:
		size = 2
	case tag == four:
		size = 4
	}
	if size == 0 || len(s) < size {
		return 0, "", false
	}
	for i := range size {
		n = n<<8 | uint64(s[i])
	}
	return n, s[size:], true
}
