// Package index keeps an inverted index of the final entities in memory, in
// step with the database, and answers from it what package read answers with
// SQL.
//
//	x := index.New(database, index.Options{Logger: log})
//	lifecycle.Go("catalog index", x.Run)
//	reader := index.NewReader(x, read.New(database))
//
// # Following the database
//
// The index is loaded in pages while SQL answers, and then follows the table
// entity_change: for each change it reads the present state of the entity, so
// it does not matter how often or in which order changes come. What must not
// happen is that a change is missed. On PostgreSQL versions are given out
// before transactions commit, so a version may appear below one that was read
// already. The index therefore remembers each gap, with the number of the next
// transaction at that time, and looks into it again until all transactions
// before that one have ended; what is missing then was rolled back. SQLite has
// one writer at a time and therefore no such gaps.
//
// # What readers see
//
// A reader sees all changes that this process committed before it asked: the
// writer calls [Index.Wake], and a reader waits for a bounded time until the
// index has caught up with that, or is laid out in order again. Where this takes
// longer, while the index is being loaded, and after it has outgrown its memory, SQL answers. Changes of
// other processes are seen at the next poll.
//
// Entities are not kept in memory; a page is read from the database by number,
// and kept for the next reader in a bounded cache. An entity whose content is
// not the one that was indexed has changed meanwhile; then SQL answers, too.
// So an entity is never shown for what it was before.
package index
