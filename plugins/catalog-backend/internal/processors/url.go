package processors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/core"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// maxReads is how many files of one location are read at a time.
const maxReads = 5

// maxMessage bounds the text of a read error that is kept, in bytes.
const maxMessage = 5000

// URL reads locations of type url, through the URL reader.
type URL struct {
	reader core.URLReaderService
	parse  catalognode.DataParser
}

// NewURL returns the processor.
func NewURL(reader core.URLReaderService, parse catalognode.DataParser) *URL {
	return &URL{reader, parse}
}

// ProcessorName implements [catalognode.Processor].
func (*URL) ProcessorName() string { return "url-reader" }

// remembered is what the location gave the last time, replayed while it says
// that nothing changed.
type remembered struct {
	ETag     string           `json:"etag"`
	Entities []rememberedItem `json:"value"`
}

type rememberedItem struct {
	Location catalogcommon.LocationRef `json:"location"`
	Entity   catalogcommon.Entity      `json:"entity"`
	Document int                       `json:"document,omitempty"`
	Line     int                       `json:"line,omitempty"`
	Order    catalogcommon.KeyOrder    `json:"order,omitempty"`
}

// ReadLocation implements [catalognode.LocationReader].
func (u *URL) ReadLocation(ctx context.Context, location catalogcommon.LocationRef, optional bool, step catalognode.Step) (bool, error) {
	if location.Type != "url" {
		return false, nil
	}
	step.Emit.Refresh("url:" + location.Target)
	var last remembered
	if raw, ok := step.Cache.Get("v1"); ok && json.Unmarshal(raw, &last) != nil {
		last = remembered{}
	}
	now, err := u.read(ctx, location, last.ETag, step.Emit)
	switch {
	case err == nil:
		if now != nil {
			return true, step.Cache.Set("v1", now)
		}
		return true, nil
	case errors.Is(err, apierr.NotModified("")) && last.ETag != "":
		for _, it := range last.Entities {
			step.Emit.Entity(it.Location, it.Entity, catalognode.AtDocument(it.Document, it.Line), catalognode.InOrder(it.Order))
		}
		return true, step.Cache.Set("v1", last)
	case apierr.KindOf(err) == apierr.KindNotFound:
		if !optional {
			step.Emit.Error(location, err)
		}
		return true, nil
	default:
		text := err.Error()
		text = text[:min(len(text), maxMessage)]
		step.Emit.Error(location, errors.New("Unable to read url, "+text)) //nolint:revive,staticcheck // operators search for this wording
		return true, nil
	}
}

// read emits what is at the location. It returns what to remember, nil if
// there is anything but entities.
func (u *URL) read(ctx context.Context, location catalogcommon.LocationRef, etag string, emit catalognode.Emitter) (*remembered, error) {
	found, err := u.reader.Search(ctx, location.Target, core.ReadOptions{ETag: etag})
	if err != nil {
		return nil, err
	}
	if len(found.Files) == 0 {
		return nil, apierr.NotFound("Unable to read url, no matching files found for %s", location.Target)
	}
	texts := make([][]byte, len(found.Files))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(maxReads)
	for i, f := range found.Files {
		group.Go(func() error {
			if err := groupCtx.Err(); err != nil {
				return err
			}
			var err error
			if texts[i], err = readFound(f); err != nil {
				return fmt.Errorf("%s: %w", f.URL, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	record := &recorder{Emitter: emit, keep: remembered{ETag: found.ETag}}
	for i, f := range found.Files {
		if err := u.parse(ctx, texts[i], catalogcommon.LocationRef{Type: "url", Target: f.URL}, record); err != nil {
			return nil, err
		}
	}
	if record.other || found.ETag == "" {
		return nil, nil
	}
	return &record.keep, nil
}

func readFound(f core.FoundFile) (text []byte, err error) {
	content, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	text, err = io.ReadAll(io.LimitReader(content, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = apierr.Input("it is larger than %d MiB", maxFile>>20)
	}
	return text, err
}

// recorder passes on what is emitted and remembers it.
type recorder struct {
	catalognode.Emitter
	keep  remembered
	other bool // something else than entities was emitted
}

func (r *recorder) Entity(location catalogcommon.LocationRef, entity catalogcommon.Entity, o ...catalognode.EmitOption) {
	var set catalognode.EmitOptions
	for _, option := range o {
		option(&set)
	}
	r.keep.Entities = append(r.keep.Entities, rememberedItem{location, entity, set.Document, set.Line, set.Order})
	r.other = r.other || set.LocationKey != nil
	r.Emitter.Entity(location, entity, o...)
}

func (r *recorder) Location(location catalogcommon.LocationRef, optional bool) {
	r.other = true
	r.Emitter.Location(location, optional)
}

func (r *recorder) Error(location catalogcommon.LocationRef, err error) {
	r.other = true
	r.Emitter.Error(location, err)
}

func (r *recorder) Relation(rel catalogcommon.Relation) {
	r.other = true
	r.Emitter.Relation(rel)
}
