package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/events"
)

// subscription is the stream of one rank of an engine: each has counts of its own.
type subscription struct {
	*events.Subscriber

	name string // of the worker
}

// subscriptions are those of all engines.
type subscriptions []subscription

// Close ends all of them.
func (s subscriptions) Close() error {
	var all []error
	for _, v := range s {
		all = append(all, v.Subscriber.Close())
	}
	return errors.Join(all...)
}

// followers are those who want to know of leases that ran out.
func (s subscriptions) followers() (out []events.Follower) {
	for _, v := range s {
		out = append(out, v.Subscriber)
	}
	return out
}

// subscribe begins to take the events of the engines that have an endpoint.
func (x *indexing) subscribe(i index.Index, s *indexServing, engines []engineConfig) (subs subscriptions, err error) {
	for n := range engines {
		sources, err := engines[n].sources()
		if err != nil {
			return nil, errors.Join(err, subs.Close())
		}
		for rank, source := range sources {
			o := events.Options{Sources: []events.Source{source}, Away: s.away, Silent: s.silent, Lease: x.lease}
			sub, err := events.Subscribe(i, o)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("engine %s: %w", engines[n].ID, err), subs.Close())
			}
			if a := sub.Addr(0); a != nil {
				x.log.Info("waiting for an engine", "engine", engines[n].ID, "rank", rank, "address", a.String())
			}
			subs = append(subs, subscription{sub, events.WorkerName(engines[n].ID, rank)})
		}
	}
	return subs, nil
}

// sources returns where the ranks of an engine publish.
func (e *engineConfig) sources() (out []events.Source, err error) {
	if e.Endpoint == "" {
		return nil, nil
	}
	for rank := range e.Ranks {
		s := events.Source{
			Engine: events.Engine{Name: e.ID, Model: e.Model, Tokenizer: e.Tokenizer, Tenant: e.Tenant, BytesPerBlock: e.BytesPerBlock},
			Bind:   e.Bind || strings.Contains(e.Endpoint, "*"),
			Topic:  e.Topic, WorkerFromTopic: e.WorkersFromTopics,
		}
		if s.Endpoint, err = atRank(e.Endpoint, rank); err != nil {
			return nil, err
		}
		if s.Replay, err = atRank(e.ReplayEndpoint, rank); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// atRank returns the endpoint of a rank: vLLM's are at the ports behind that of the
// first.
func atRank(endpoint string, rank int) (string, error) {
	if rank == 0 || endpoint == "" {
		return endpoint, nil
	}
	rest, tcp := strings.CutPrefix(endpoint, "tcp://")
	host, port, err := net.SplitHostPort(rest)
	n, convert := strconv.Atoi(port)
	if !tcp || err != nil || convert != nil || n == 0 || n+rank > 1<<16-1 {
		return "", fmt.Errorf("endpoint %s: there is none for rank %d; several ranks need tcp://HOST:PORT", endpoint, rank)
	}
	return "tcp://" + net.JoinHostPort(host, strconv.Itoa(n+rank)), nil
}
