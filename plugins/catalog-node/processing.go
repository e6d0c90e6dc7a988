package catalognode

import (
	"context"
	"encoding/json"
	"iter"
	"slices"

	"github.com/flytower/flytower/backend"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/model"
)

// ProcessingExtensionPoint takes what brings entities into the catalog and
// what looks at them on their way. It takes registrations until the plugin
// starts, that is, in the init functions of modules.
type ProcessingExtensionPoint interface {
	// AddProcessor adds processors, behind those that are there. A name that is
	// taken is an error, except that a processor named
	// "BuiltinKindsEntityProcessor" replaces the built-in one.
	AddProcessor(p ...Processor) error
	// AddProvider adds entity providers. One with the name of a built-in
	// provider replaces it.
	AddProvider(p ...EntityProvider) error
	// AddPlaceholderResolver adds the meaning of objects {"$<key>": value} in
	// entities. A key that is taken is an error.
	AddPlaceholderResolver(key string, resolve PlaceholderResolver) error
	// OnProcessingError calls fn, at most once at a time, for each entity whose
	// processing failed with other errors than before.
	OnProcessingError(fn func(ctx context.Context, e ProcessingError)) error
}

// Processing is the extension point of [ProcessingExtensionPoint].
var Processing = backend.NewExtensionPoint[ProcessingExtensionPoint]("catalog", "processing")

// ProcessingError is what went wrong with an entity.
type ProcessingError struct {
	EntityRef   string
	Unprocessed catalogcommon.Entity
	Errors      []error
}

// Processor looks at each entity on its way into the catalog. It implements
// any of [PreProcessor], [KindValidator], [LocationReader] and
// [PostProcessor]. Its methods are called concurrently for different
// entities.
type Processor interface {
	// ProcessorName is unique and stable: the configuration names it, and what
	// it caches is kept under it.
	ProcessorName() string
}

// PreProcessor changes an entity before it is checked. The entity is its own
// to change and return.
type PreProcessor interface {
	Processor
	PreProcess(ctx context.Context, entity catalogcommon.Entity, step Step) (catalogcommon.Entity, error)
}

// KindValidator checks the kinds that it knows.
type KindValidator interface {
	Processor
	// ValidateKind reports whether the entity is of a kind that it knows, and
	// what is wrong with it.
	ValidateKind(ctx context.Context, entity catalogcommon.Entity) (known bool, err error)
}

// LocationReader reads the locations of a type.
type LocationReader interface {
	Processor
	// ReadLocation emits what is at the location and reports true, or reports
	// false for a type that it does not read. optional says that nothing being
	// there is no error.
	ReadLocation(ctx context.Context, location catalogcommon.LocationRef, optional bool, step Step) (handled bool, err error)
}

// PostProcessor changes an entity after it was checked, and emits what follows
// from it, such as relations.
type PostProcessor interface {
	Processor
	PostProcess(ctx context.Context, entity catalogcommon.Entity, step Step) (catalogcommon.Entity, error)
}

// Prioritized moves a processor: lower comes first, 20 is the default, and the
// configuration catalog.processorOptions.<name>.priority goes before it.
type Prioritized interface{ ProcessorPriority() int }

// Volatile marks a processor whose result depends on more than the entity,
// such as a file elsewhere, so that entities it concerns are processed again
// from time to time. Processors without it run again when the entity, the
// configuration or the set of processors changed.
type Volatile interface {
	// Depends reports whether the result for this entity may change by itself.
	Depends(entity catalogcommon.Entity) bool
}

// Step is what a processor is told about the run, and where it leaves what it
// finds.
type Step struct {
	// Location is where the entity was read, Origin where the ingestion began.
	Location, Origin catalogcommon.LocationRef
	Emit             Emitter
	Cache            ProcessorCache
}

// Emitter takes what processors find. It is safe for concurrent use until the
// processor returned; what comes later is dropped.
type Emitter interface {
	// Entity emits an entity read at the location.
	Entity(location catalogcommon.LocationRef, entity catalogcommon.Entity, o ...EmitOption)
	// Location emits a location to read.
	Location(location catalogcommon.LocationRef, optional bool)
	// Relation emits a relation between two entities.
	Relation(r catalogcommon.Relation)
	// Error emits something wrong at the location. The entity keeps its last
	// good state.
	Error(location catalogcommon.LocationRef, err error)
	// KeyOrder says in which order the keys are shown of a value that the
	// processor brought into the entity, at a path of keys and indices of lists.
	KeyOrder(path []string, order catalogcommon.KeyOrder)
	// Refresh makes the entity depend on a key ("url:…", "file:…"): whoever
	// refreshes the key makes the catalog process the entity.
	Refresh(key string)
}

// EmitOption changes how an entity is emitted.
type EmitOption func(*EmitOptions)

// EmitOptions are what [EmitOption] sets.
type EmitOptions struct {
	// LocationKey claims the entity; nil is the default, the location.
	LocationKey *string
	// Document is which document of the file at the location the entity is,
	// from 1, and Line the line where it begins; 0 if that is not known.
	Document, Line int
	// Order is that of the keys of the entity.
	Order catalogcommon.KeyOrder
}

// WithLocationKey claims the emitted entity with another key than its
// location; the empty key lets anybody else claim it.
func WithLocationKey(key string) EmitOption {
	return func(o *EmitOptions) { o.LocationKey = &key }
}

// AtDocument tells in which document of its file, counted from 1, and from
// which line the emitted entity is, for whoever has to mend it.
func AtDocument(document, line int) EmitOption {
	return func(o *EmitOptions) { o.Document, o.Line = document, line }
}

// InOrder says in which order the keys of the emitted entity were written;
// without it they are shown sorted.
func InOrder(order catalogcommon.KeyOrder) EmitOption {
	return func(o *EmitOptions) { o.Order = order }
}

// ProcessorCache keeps what a processor wants to know in its next run for the
// same entity. If anything is set in a run, only what was set in it is kept.
type ProcessorCache interface {
	Get(key string) (json.RawMessage, bool)
	Set(key string, value any) error
	// Sub returns a part of its own, for example per location.
	Sub(key string) ProcessorCache
}

// PlaceholderResolver returns what replaces an object {"$<key>": value}, either
// a JSON value or a [catalogcommon.Ordered].
type PlaceholderResolver func(ctx context.Context, p Placeholder) (any, error)

// Placeholder is an object {"$<key>": value} in an entity.
type Placeholder struct {
	Key   string
	Value any
	// BaseURL is the location of the entity.
	BaseURL string
	// Read reads a URL; Resolve resolves a reference against a base by the
	// rules of its host.
	Read    func(ctx context.Context, url string) ([]byte, error)
	Resolve func(ref, base string) (string, error)
	Emit    Emitter
}

// EntityProvider hands entities in.
type EntityProvider interface {
	// ProviderName is unique and stable: what it handed in is kept under it,
	// and taken back when the provider is gone.
	ProviderName() string
	// Connect is called once, when the plugin starts. The connection stays
	// good until the plugin stops.
	Connect(ctx context.Context, c ProviderConnection) error
}

// ProviderConnection is the way of a provider into the catalog.
type ProviderConnection interface {
	// ApplyFull makes the entities all that the provider has: those that it no
	// longer yields are taken back, with everything that only they led to.
	// Entities that did not change cost no write.
	//
	// The sequence is ranged over exactly once, in the goroutine of the caller,
	// before the database is asked for anything: it may read a slow source. What
	// it yields goes to a temporary file, so any number of entities takes little
	// memory; an entity must not be changed after it was yielded. Of several
	// with one ref the last counts. Then everything changes in one transaction,
	// or nothing: not if the sequence yields an error, nor if an entity is
	// malformed, nor if the process ends on the way.
	//
	// The operator may limit what one mutation takes away, in
	// catalog.providerOptions: beyond that it fails with an apierr.KindConflict
	// error, and nothing changes.
	ApplyFull(ctx context.Context, entities iter.Seq2[DeferredEntity, error]) (MutationReport, error)
	// ApplyDelta adds (or changes) and removes entities.
	ApplyDelta(ctx context.Context, d Delta) (MutationReport, error)
	// Refresh processes soon what depends on the keys.
	Refresh(ctx context.Context, keys ...string) error
}

// DeferredEntity is an entity that is handed in for processing.
type DeferredEntity struct {
	Entity catalogcommon.Entity
	// LocationKey claims the ref: nobody with another key can change the
	// entity. It may be empty.
	LocationKey string
	// Order is that of the keys of the entity; without it they are shown sorted.
	Order catalogcommon.KeyOrder
}

// Delta is a change of what a provider has.
type Delta struct {
	Added []DeferredEntity
	// Removed are refs.
	Removed []string
}

// MutationReport tells what a mutation did.
type MutationReport struct {
	Seen, Added, Changed, Removed, Conflicts int
}

// LocationsExtensionPoint says which locations users may register.
type LocationsExtensionPoint interface {
	// SetAllowedTypes replaces the default, which is only "url".
	SetAllowedTypes(types ...string) error
}

// Locations is the extension point of [LocationsExtensionPoint].
var Locations = backend.NewExtensionPoint[LocationsExtensionPoint]("catalog", "locations")

// ModelExtensionPoint changes what the catalog takes for a good entity.
type ModelExtensionPoint interface {
	// SetFieldValidators replaces the validators that are set.
	SetFieldValidators(v catalogcommon.Validators) error
	// SetDataParser replaces the decoder of files, once.
	SetDataParser(p DataParser) error
	// AddModelSource adds a source of model layers. With any, the kinds,
	// relations and fields that all their layers declare take the place of the
	// built-in ones, which are in model.Default.
	AddModelSource(s ...ModelSource) error
}

// ModelSource returns layers of the model. It is called once, when the catalog
// starts, which waits for it.
type ModelSource func(ctx context.Context) ([]model.Layer, error)

// ProvideStaticModel returns a module that adds layers to the built-in model.
// A layer with the ID of model.Default takes its place.
//
//	b.Add(catalogbackend.Plugin, catalognode.ProvideStaticModel(model.AIResources(), robots))
func ProvideStaticModel(layers ...model.Layer) backend.Feature {
	return backend.NewModule("catalog", "static-catalog-model", func(env *backend.ModuleEnv) backend.InitFunc {
		point := Model.From(env)
		return func(context.Context) error {
			all := []model.Layer{}
			for _, l := range append(slices.Clone(layers), model.Default()) {
				if !slices.ContainsFunc(all, func(there model.Layer) bool { return there.ID == l.ID }) {
					all = append(all, l)
				}
			}
			return point().AddModelSource(func(context.Context) ([]model.Layer, error) { return all, nil })
		}
	}, backend.WithDescription("Adds layers to the model of the catalog"))
}

// Model is the extension point of [ModelExtensionPoint].
var Model = backend.NewExtensionPoint[ModelExtensionPoint]("catalog", "model")

// DataParser emits the entities in a file and the errors that it finds.
type DataParser func(ctx context.Context, data []byte, location catalogcommon.LocationRef, emit Emitter) error

// AnalysisExtensionPoint adds knowledge of source hosts to the analysis of
// locations that users want to register.
type AnalysisExtensionPoint interface {
	// AddLocationAnalyzer adds analyzers of source hosts. The first one that
	// supports a URL is asked.
	AddLocationAnalyzer(a ...LocationAnalyzer) error
	// SetLocationAnalyzer replaces the analysis as a whole, once. The factory is
	// called with all added analyzers when the plugin starts.
	SetLocationAnalyzer(f AnalyzerFactory) error
}

// AnalyzerFactory makes what analyzes locations, of the analyzers that modules
// added.
type AnalyzerFactory func(added []LocationAnalyzer) (Analyzer, error)

// Analyzer tells what is at a URL that a user may want to register.
type Analyzer interface {
	// Analyze returns the entities in catalog files at the URL, or drafts of
	// entities. filename may be empty; target is as the user wrote it.
	Analyze(ctx context.Context, target, filename string) (LocationAnalysis, error)
}

// Analysis is the extension point of [AnalysisExtensionPoint].
var Analysis = backend.NewExtensionPoint[AnalysisExtensionPoint]("catalog", "analysis")

// LocationAnalyzer finds the catalog files of repositories at a host.
type LocationAnalyzer interface {
	Supports(url string) bool
	// Existing returns the catalog files that are there. filename may be empty.
	Existing(ctx context.Context, url, filename string) ([]ExistingFile, error)
}

// ExistingFile is a catalog file found by an analyzer.
type ExistingFile struct {
	Location     catalogcommon.LocationRef
	IsRegistered bool
	Entity       catalogcommon.Entity
}
