// Package ingest carries the entities of a remote source into the catalog, so
// that a source in trouble never empties it.
//
//	p := ingest.New(ingest.Options{Provider: "github-provider:acme", Connection: connection, …})
//	report, err := p.Full(ctx, func(ctx context.Context, add ingest.AddFunc) error {
//		for each page of the source {
//			if err := add(entity); err != nil {
//				return err
//			}
//		}
//		return nil
//	})
//
// A full run is one mutation, see catalognode.ProviderConnection: the catalog
// takes all that the source has into a temporary file, before it changes
// anything. So
//
//   - an error of the source ends the run, and nothing was changed;
//   - few entities are in memory, and no transaction is open while the source
//     is read, however long that takes;
//   - the numbers are known before anything is removed. If the source has far
//     fewer entities than in the last run, the mutation is refused; see
//     [Options.MaxRemovedPercentage].
//
// Changes that come by [Provider.Delta] while a full run reads the source are
// applied at once and once more after the run, whose pages may be older.
package ingest
