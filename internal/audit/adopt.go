package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// adoption is how a client looks after the spools of processes that are gone. The zero value looks
// after none.
type adoption struct {
	root  *root
	told  map[string]bool // errors that were logged
	stop  context.CancelFunc
	ended sync.WaitGroup
}

// maxTold bounds how many errors of adoption are remembered.
const maxTold = 100

// own opens a client on the first of the directories that can be gone on with, else on a new one. It
// returns the directories that are left. After an error that is all of them.
func (r *root) own(opts Options, gone []*directory) (c *Client, left []*directory, err error) {
	for i, d := range gone {
		if d.path == r.path {
			continue
		}
		if c, err := open(opts, d); err == nil {
			return c, append(gone[:i:i], gone[i+1:]...), nil
		}
	}
	d, err := r.create()
	if err != nil {
		return nil, gone, err
	}
	if c, err = open(opts, d); err != nil {
		return nil, gone, errors.Join(err, d.discard())
	}
	return c, gone, nil
}

// keepLooking looks for processes that are gone until the client closes.
func (c *Client) keepLooking() {
	ctx, cancel := context.WithCancel(context.Background())
	c.adoption.stop = cancel
	c.adoption.ended.Go(func() {
		ticker := time.NewTicker(c.opts.LookInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				c.look(ctx)
			case <-ctx.Done():
				return
			}
		}
	})
}

// end returns when nothing more is adopted.
func (a *adoption) end() {
	if a.stop != nil {
		a.stop()
	}
	a.ended.Wait()
}

// look adopts what processes that are gone left, and counts what others hold.
func (c *Client) look(ctx context.Context) {
	own := c.spool.disk.(*directory).path
	gone, others, err := c.adoption.root.look(own, false)
	if errors.Is(err, errHeld) {
		return // another process does the same
	}
	c.looked(others, err)
	c.adopt(ctx, gone)
}

// looked notes the outcome of a look.
func (c *Client) looked(others int64, err error) {
	if err != nil {
		c.tell(diskError("audit.adopt", err))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.others = others
	c.grant()
}

// tell logs an error of adoption, which comes with every look, once.
func (c *Client) tell(err error) {
	if text := err.Error(); !c.adoption.told[text] {
		if len(c.adoption.told) == 0 || len(c.adoption.told) >= maxTold {
			c.adoption.told = make(map[string]bool)
		}
		c.adoption.told[text] = true
		c.log.Error("audit spool of another process cannot be adopted; its events stay where they are", "error", err)
	}
}

// adopt takes over what is in the directories, in their order, removes them, and gives up those where
// that is not possible, or for which ctx leaves no time.
func (c *Client) adopt(ctx context.Context, gone []*directory) {
	for _, d := range gone {
		var err error
		if ctx.Err() == nil {
			err = c.adoptFrom(d, "directory", d.path, "left_by", d.signature())
		}
		if err == nil && ctx.Err() == nil {
			err = d.discard()
		} else {
			err = errors.Join(err, d.release())
		}
		if err != nil {
			c.tell(diskError("audit.adopt", fmt.Errorf("adopt %s: %w", d.path, err)))
		}
	}
}

// adoptFrom makes the records on a disk the newest of the spool. After an error some may be left
// there, and may be adopted later.
func (c *Client) adoptFrom(from disk, attrs ...any) error {
	var trails []string // of each record; "" when it is no event, which delivery will set aside
	undecodable := 0
	left, err := survey(from, func(payload []byte) {
		e, err := decodeEvent(payload)
		if err != nil {
			undecodable++
		}
		trails = append(trails, e.CorrelationID)
	})
	if err != nil {
		return err
	}
	c.appending.Lock()
	defer c.appending.Unlock()
	moved, err := c.spool.adopt(from, left)
	var sum tally
	for _, seg := range moved {
		sum.add(seg.tally)
	}
	if left.tally = sum; err != nil { // what else there is to say comes with the last of it
		left.recovery, undecodable = recovery{tally: sum}, 0
	}
	c.report("audit spool of another process adopted", left.recovery, undecodable, attrs...)

	c.mu.Lock()
	c.usedEvents += sum.records
	c.usedBytes += sum.bytes
	c.mu.Unlock()
	c.spool.include(moved)
	c.mu.Lock()
	for i, trail := range trails[:sum.records] {
		if trail != "" {
			c.trails[trail] = c.durable + i + 1
		}
	}
	c.durable += sum.records
	c.mu.Unlock()
	kick(c.deliverKick)
	return err
}
