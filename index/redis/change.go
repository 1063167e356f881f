package redis

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/kvferry/kvferry/index"
)

// common is how many arguments every script has, which changes have kept, too.
const common = 3

// parseChange reads what a script kept of a change.
func (x *Index) parseChange(kind string, fields []string) (*index.Change, error) {
	var c index.Change
	var err error
	switch {
	case kind == "put" && len(fields) > common:
		c.Kind = index.DidPut
		c.Records, err = x.parsePut(fields[common:])
	case kind == "remove" && len(fields) > common:
		c.Kind = index.DidRemove
		c.Removals, err = parseRemove(fields[common:])
	case kind == "clear_worker" && len(fields) == 1:
		c.Kind, c.Worker = index.DidClearWorker, fields[0]
	case kind == "clear" && len(fields) == 1:
		c.Kind = index.DidClear
	case kind == "expire" && len(fields) == 1 && len(fields[0]) == 8:
		c.Kind, c.Before = index.DidExpire, binary.BigEndian.Uint64([]byte(fields[0]))
	case kind == "announce" && len(fields) == 3:
		c.Kind, c.Worker, c.Gone = index.DidAnnounce, fields[0], fields[2] == "1"
		c.Incarnation, err = strconv.ParseUint(fields[1], 10, 64)
	default:
		return nil, corrupt("watch", fmt.Sprintf("change of the kind %.20q", kind))
	}
	if err != nil {
		return nil, corrupt("watch", "change")
	}
	return &c, nil
}

// parsePut reads the arguments of put.lua.
func (x *Index) parsePut(args []string) ([]index.Record, error) {
	var rs []index.Record
	for len(args) > 0 {
		if len(args) < 7 {
			return nil, corrupt("watch", "run of records")
		}
		id, err := scopeOf(args[1], args[0])
		n, err2 := strconv.ParseUint(args[4], 10, 31)
		worker := args[2]
		args = args[7:]
		if err != nil || err2 != nil || n > uint64(len(args)/4) {
			return nil, corrupt("watch", "run of records")
		}
		for range n {
			var r index.Record
			names := map[string]string(nil)
			if len(args[1]) > inlineMax && len(args[2]) == headBytes+1+refBytes {
				names = map[string]string{args[2][headBytes+1:]: args[1]}
			}
			if err := x.parseRecord(&id.Scope, args[0], args[2]+worker, args[3], names, &r); err != nil {
				return nil, err
			}
			rs = append(rs, r)
			args = args[4:]
		}
	}
	return rs, nil
}

// parseRemove reads the arguments of remove.lua.
func parseRemove(args []string) ([]index.Removal, error) {
	if len(args)%7 != 0 {
		return nil, corrupt("watch", "removals")
	}
	rs := make([]index.Removal, 0, len(args)/7)
	for ; len(args) > 0; args = args[7:] {
		id, err := scopeOf(args[2], "")
		if err != nil {
			return nil, err
		}
		r := index.Removal{Scope: id.Scope, AnyAdapter: args[0] == "", Worker: args[3], Hash: args[4]}
		switch tier := args[5]; {
		case len(tier) == 1 && index.Tier(tier[0]).Valid():
			r.Tier = index.Tier(tier[0])
		case tier != "":
			return nil, corrupt("watch", "tier of a removal")
		}
		switch group := args[6]; len(group) {
		case 4:
			r.OneGroup, r.Group = true, word(group)
		case 0:
		default:
			return nil, corrupt("watch", "group of a removal")
		}
		rs = append(rs, r)
	}
	return rs, nil
}
