// Package snapshots keeps archives of workspaces as objects of a bucket:
// <prefix>/<task>/<snapshot>.tar.
package snapshots

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/encrypt"

	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

const (
	suffix = ".tar"
	// partSize is how much of an archive is in memory, in bytes, twice. With
	// ten thousand parts an archive may have 80 GB.
	partSize = 8 << 20
)

// Store is a workspace provider. Use [New].
type Store struct {
	client         *minio.Client
	bucket, prefix string
	encryption     encrypt.ServerSide
}

var _ scaffoldernode.WorkspaceProvider = (*Store)(nil)

// New returns the store below a prefix of a bucket. encryption may be nil.
func New(client *minio.Client, bucket, prefix string, encryption encrypt.ServerSide) *Store {
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	return &Store{client, bucket, prefix, encryption}
}

// Check asks for the bucket.
func (s *Store) Check(ctx context.Context) error {
	ok, err := s.client.BucketExists(ctx, s.bucket)
	if err == nil && !ok {
		err = errors.New("there is no such bucket")
	}
	return s.failed("find", err)
}

func (s *Store) failed(what string, err error) error {
	if err == nil {
		return nil
	}
	switch code := minio.ToErrorResponse(err).Code; code {
	case minio.NoSuchKey, minio.NoSuchUpload:
		err = fs.ErrNotExist
	}
	return fmt.Errorf("%s a workspace in the bucket %s: %w", what, s.bucket, err)
}

func (s *Store) folder(task string) string { return s.prefix + task + "/" }

func (s *Store) key(snapshot scaffoldernode.WorkspaceSnapshot) string {
	return s.folder(snapshot.TaskID) + snapshot.ID + suffix
}

// Save implements [scaffoldernode.WorkspaceProvider]. A large archive is
// uploaded in parts, which are no object before the last of them is there.
func (s *Store) Save(ctx context.Context, snapshot scaffoldernode.WorkspaceSnapshot, archive io.Reader) error {
	first := make([]byte, partSize)
	n, err := io.ReadFull(archive, first)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	whole, size := io.Reader(bytes.NewReader(first[:n])), int64(n)
	if err == nil {
		whole, size = io.MultiReader(whole, archive), -1
	}
	_, err = s.client.PutObject(ctx, s.bucket, s.key(snapshot), whole, size, minio.PutObjectOptions{
		ContentType: "application/x-tar", PartSize: partSize, NumThreads: 1, ServerSideEncryption: s.encryption,
	})
	return s.failed("save", err)
}

// Open implements [scaffoldernode.WorkspaceProvider].
func (s *Store) Open(ctx context.Context, snapshot scaffoldernode.WorkspaceSnapshot) (io.ReadCloser, error) {
	body, _, _, err := minio.Core{Client: s.client}.GetObject(ctx, s.bucket, s.key(snapshot), minio.GetObjectOptions{})
	if err != nil {
		return nil, s.failed("read", err)
	}
	return body, nil
}

// Remove implements [scaffoldernode.WorkspaceProvider].
func (s *Store) Remove(ctx context.Context, snapshot scaffoldernode.WorkspaceSnapshot) error {
	if snapshot.ID != "" {
		return s.failed("remove", s.client.RemoveObject(ctx, s.bucket, s.key(snapshot), minio.RemoveObjectOptions{}))
	}
	for object, err := range s.objects(ctx, s.folder(snapshot.TaskID)) {
		if err == nil {
			err = s.client.RemoveObject(ctx, s.bucket, object.Key, minio.RemoveObjectOptions{})
		}
		if err != nil {
			return s.failed("remove", err)
		}
	}
	for upload, err := range s.uploads(ctx, s.folder(snapshot.TaskID)) {
		if err == nil {
			err = s.client.RemoveIncompleteUpload(ctx, s.bucket, upload.Key)
		}
		if err != nil {
			return s.failed("remove", err)
		}
	}
	return nil
}

func (s *Store) objects(ctx context.Context, prefix string) iter.Seq2[minio.ObjectInfo, error] {
	return func(yield func(minio.ObjectInfo, error) bool) {
		for object := range s.client.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
			if !yield(object, object.Err) || object.Err != nil {
				return
			}
		}
	}
}

// uploads are those that came to no end.
func (s *Store) uploads(ctx context.Context, prefix string) iter.Seq2[minio.ObjectMultipartInfo, error] {
	return func(yield func(minio.ObjectMultipartInfo, error) bool) {
		ctx, stop := context.WithCancel(ctx)
		defer stop() // ends the goroutine behind the channel
		for upload := range s.client.ListIncompleteUploads(ctx, s.bucket, prefix, true) {
			if !yield(upload, upload.Err) || upload.Err != nil {
				return
			}
		}
	}
}

// List implements [scaffoldernode.WorkspaceProvider].
func (s *Store) List(ctx context.Context) iter.Seq2[scaffoldernode.KeptWorkspace, error] {
	return func(yield func(scaffoldernode.KeptWorkspace, error) bool) {
		for object, err := range s.objects(ctx, s.prefix) {
			task, ok := s.task(object.Key)
			if err != nil {
				yield(scaffoldernode.KeptWorkspace{}, s.failed("list", err))
				return
			}
			if ok && !yield(scaffoldernode.KeptWorkspace{TaskID: task, Saved: object.LastModified}, nil) {
				return
			}
		}
		for upload, err := range s.uploads(ctx, s.prefix) {
			task, ok := s.task(upload.Key)
			if err != nil {
				yield(scaffoldernode.KeptWorkspace{}, s.failed("list", err))
				return
			}
			if ok && !yield(scaffoldernode.KeptWorkspace{TaskID: task, Saved: upload.Initiated}, nil) {
				return
			}
		}
	}
}

// task returns the task of an object; ok is false for objects of others.
func (s *Store) task(key string) (id string, ok bool) {
	folder, file := path.Split(strings.TrimPrefix(key, s.prefix))
	id = strings.TrimSuffix(folder, "/")
	return id, strings.HasSuffix(file, suffix) && len(id) == 36 && strings.Trim(id, "0123456789abcdefABCDEF-") == ""
}
