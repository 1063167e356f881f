package redis

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

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
		if err != nil || err2 != nil || n > uint64(len(args)/3) {
			return nil, corrupt("watch", "run of records")
		}
		before := ""
		for i := range n {
			var r index.Record
			if args[1] == hashBefore && i > 0 {
				args[1] = before
			}
			before = args[0]
			if err := x.parsePutRecord(&id.Scope, worker, args, &r); err != nil {
				return nil, err
			}
			rs = append(rs, r)
			args = args[3:]
		}
	}
	return rs, nil
}

// parsePutRecord reads the three arguments of one record.
func (x *Index) parsePutRecord(s *index.Scope, worker string, args []string, r *index.Record) error {
	hash, err1 := name(args[0])
	prefix, err2 := name(args[1])
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	key, rest, ok := strings.Cut(args[2], hashBefore)
	value, end, ok2 := strings.Cut(rest, hashBefore)
	if !ok || !ok2 || key == "" || key[0] != tagRecord || value == "" || value[0] != tagValue || end != "" {
		return corrupt("watch", "record")
	}
	err := x.parseRecord(s, hash, prefix, key[1:], value[1:], r)
	if err == nil && r.Worker != worker {
		err = corrupt("watch", "worker of a record")
	}
	return err
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
		r := index.Removal{Scope: id.Scope, AnyAdapter: args[0] == "", Worker: args[3]}
		if r.Hash, err = name(args[4]); err != nil {
			return nil, err
		}
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
