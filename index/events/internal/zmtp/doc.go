// Package zmtp speaks as much of ZMTP, ZeroMQ's protocol, as a subscriber needs:
// versions 3.0 and 3.1, the NULL mechanism, SUB and DEALER, over TCP and Unix
// sockets; and PUB and ROUTER, so that tests need no other side.
//
//	greeting  ff 0*7 01 7f | major 03 | minor | "NULL" 0*16 | as-server 00 | 0*31     64 bytes
//	frame     flags | length (1 byte, or 8 big-endian) | body
//	flags     01 more frames follow | 02 length of 8 bytes | 04 command
//	command   length of name | name | body
//	READY     (length of name | name | length of value, 4 | value)...      first command of each side
//	SUBSCRIBE topic                  to a 3.1 side; to 3.0 it is the message 01 topic
//	PING      ttl (2) | context      answered by PONG context
//	ERROR     length of reason | reason
//
// A message is read into one buffer that is used again. No length that the other
// side sends makes us allocate more than twice of what it has sent, and none beyond
// a limit is taken.
package zmtp
