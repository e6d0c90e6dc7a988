package engine

import (
	"context"
	"time"
)

const (
	// rowsPoll is how often search rows are looked for that are to be written.
	rowsPoll = time.Second
	// rowsAfter is how long there must have been nothing else to do for them to
	// be written, and rowsAtLast after how long they are written all the same.
	rowsAfter, rowsAtLast = 2 * time.Second, time.Minute
	// rowsBatch is of how many entities search rows are written in a transaction.
	rowsBatch = 100
	// manyWritten is how many entities leave a table behind that wants tidying.
	manyWritten = 1000
)

// worked notes that there was something to do.
func (e *Engine) worked() { e.lastWork.Store(time.Now().UnixNano()) }

// quiet reports whether there has been nothing to do for a while.
func (p *pipeline) quiet() bool {
	p.mu.Lock()
	idle := len(p.inFlight) == 0
	p.mu.Unlock()
	return idle && p.e.mutations.Load() == 0 && time.Since(time.Unix(0, p.e.lastWork.Load())) >= rowsAfter
}

// writeRows writes search rows of new entities until the context ends. Only
// SQL needs them, and the rows cost more than all else that is done to a new
// entity; so they give way to everything else, within reason.
func (p *pipeline) writeRows(ctx context.Context) {
	timer := time.NewTimer(rowsPoll)
	defer timer.Stop()
	written, last := 0, time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		quiet := p.quiet()
		if !quiet && time.Since(last) < rowsAtLast {
			timer.Reset(rowsPoll)
			continue
		}
		began := time.Now()
		n, err := p.e.c.Store.WriteRows(ctx, rowsBatch)
		pause := time.Since(began) // others have their turn
		if !quiet {
			pause *= 3
		}
		if err != nil && ctx.Err() == nil {
			p.e.c.Logger.WarnContext(ctx, "writing search rows failed; trying again", "error", err)
		}
		if written += n; n == 0 {
			if err == nil && written >= manyWritten {
				if err := p.e.c.Store.TidyRows(ctx); err != nil && ctx.Err() == nil {
					p.e.c.Logger.DebugContext(ctx, "tidying the table of search rows to be written failed; the server will do it", "error", err)
				}
			}
			written, last, pause = 0, time.Now(), rowsPoll
		}
		timer.Reset(pause)
	}
}
