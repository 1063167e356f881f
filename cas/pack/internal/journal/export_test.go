package journal

// CRC is the checksum of headers.
func CRC(b []byte) uint32 { return crc(0, b) }
