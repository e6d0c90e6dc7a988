package processors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/flytower/flytower/apierr"
	"github.com/flytower/flytower/internal/yaml12"
	catalogcommon "github.com/flytower/flytower/plugins/catalog-common"
	"github.com/flytower/flytower/plugins/catalog-common/entityyaml"
	catalognode "github.com/flytower/flytower/plugins/catalog-node"
)

// maxFile bounds a catalog file, in bytes.
const maxFile = 64 << 20

// maxFiles bounds how many files one pattern may name.
const maxFiles = 100_000

// File reads locations of type file: a path, or a pattern.
type File struct{ parse catalognode.DataParser }

// NewFile returns the processor.
func NewFile(parse catalognode.DataParser) *File { return &File{parse} }

// ProcessorName implements [catalognode.Processor].
func (*File) ProcessorName() string { return "FileReaderProcessor" }

// ReadLocation implements [catalognode.LocationReader].
func (f *File) ReadLocation(ctx context.Context, location catalogcommon.LocationRef, optional bool, step catalognode.Step) (bool, error) {
	if location.Type != "file" {
		return false, nil
	}
	paths, err := expand(location.Target)
	if err != nil {
		step.Emit.Error(location, fmt.Errorf("file %s could not be read, %w", location.Target, err))
		return true, nil
	}
	if len(paths) == 0 {
		if !optional {
			step.Emit.Error(location, apierr.NotFound("file %s does not exist", location.Target))
		}
		return true, nil
	}
	for _, path := range paths {
		at := catalogcommon.LocationRef{Type: "file", Target: path}
		step.Emit.Refresh(at.String())
		data, err := readFile(path)
		if err == nil {
			err = f.parse(ctx, data, at, step.Emit)
		}
		if err != nil {
			step.Emit.Error(at, fmt.Errorf("file %s could not be read, %w", location.Target, err))
		}
	}
	return true, nil
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("it is larger than %d MiB", maxFile>>20)
	}
	return data, err
}

// expand returns the regular files that a path or pattern names, sorted.
func expand(target string) ([]string, error) {
	target = filepath.Clean(target)
	if !strings.ContainsAny(target, "*?[{") {
		info, err := os.Stat(target)
		switch {
		case os.IsNotExist(err):
			return nil, nil
		case err != nil:
			return nil, err
		case info.IsDir():
			return nil, fmt.Errorf("%s is a directory", target)
		}
		return []string{target}, nil
	}
	var paths []string
	base, pattern := doublestar.SplitPattern(filepath.ToSlash(target))
	err := doublestar.GlobWalk(os.DirFS(filepath.FromSlash(base)), pattern, func(path string, d os.DirEntry) error {
		if d.IsDir() {
			return nil
		}
		if len(paths) == maxFiles {
			return fmt.Errorf("the pattern names more than %d files", maxFiles)
		}
		paths = append(paths, filepath.Join(filepath.FromSlash(base), filepath.FromSlash(path)))
		return nil
	})
	slices.Sort(paths)
	return paths, err
}

// maxDocuments bounds how many documents of one file are read.
const maxDocuments = 100_000

// YAML returns the parser of catalog files: YAML documents, each an entity.
func YAML(o entityyaml.Options) catalognode.DataParser {
	return func(_ context.Context, data []byte, location catalogcommon.LocationRef, emit catalognode.Emitter) error {
		n := 0
		for doc := range entityyaml.Documents(data, o) {
			if n++; n > maxDocuments {
				emit.Error(location, inDocument(apierr.Input("the file has more than %d documents; split it", maxDocuments), location, n, doc.Line))
				return nil
			}
			entity, err := doc.Entity()
			switch {
			case err != nil && doc.Err != nil:
				emit.Error(location, inDocument(apierr.New(apierr.KindOf(err), "YAML error at %s, %w", location, err), location, n, doc.Line))
			case err != nil:
				emit.Error(location, inDocument(apierr.New(apierr.KindOf(err), "%w", err), location, n, doc.Line))
			case entity != nil:
				emit.Entity(location, entity, catalognode.AtDocument(n, doc.Line), catalognode.InOrder(doc.KeyOrder()))
			}
		}
		return nil
	}
}

// inDocument says where an error is: in which file, in which of its documents
// (from 1), and in which line of the file that begins, or has the mistake.
func inDocument(err *apierr.Error, location catalogcommon.LocationRef, document, line int) error {
	var syntax *yaml12.Error
	if errors.As(err, &syntax) && syntax.Line > 0 {
		line = syntax.Line
	}
	err.Fields = map[string]any{"location": location.String(), "document": document, "line": line}
	return err
}
