// Package scaffoldermoduleworkspaces3 keeps the workspaces of running tasks in
// a bucket of Amazon S3, or of another store with the same protocol, so that
// another instance goes on with their files.
//
//	b.Add(scaffolderbackend.Plugin, scaffoldermoduleworkspaces3.Module)
//
// with the configuration
//
//	scaffolder:
//	  taskRecovery:
//	    enabled: true
//	    workspaceProvider: s3
//	    s3: {bucket: scaffolder, region: eu-central-1, prefix: workspaces}
//
// Without credentials in the configuration those of the environment, of the
// shared file of AWS, or of the machine are used. What is below the prefix
// belongs to one scaffolder: it removes what it does not know.
package scaffoldermoduleworkspaces3

import (
	"context"
	_ "embed"
	"errors"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/encrypt"

	"github.com/flytower/flytower/backend"
	"github.com/flytower/flytower/core"
	"github.com/flytower/flytower/plugins/scaffolder-backend-module-workspace-s3/internal/snapshots"
	scaffoldernode "github.com/flytower/flytower/plugins/scaffolder-node"
)

//go:embed config.schema.json
var configSchema string

// Name and OtherName are the names of the provider in the configuration.
const (
	Name      = "s3"
	OtherName = "awsS3"
)

const configKey = "scaffolder.taskRecovery.s3"

// Module adds the provider, if the configuration has a bucket.
var Module = backend.NewModule("scaffolder", "workspace-s3", func(env *backend.ModuleEnv) backend.InitFunc {
	config, log, workspaces := core.RootConfig.From(env), core.Logger.From(env), scaffoldernode.Workspaces.From(env)
	return func(ctx context.Context) error {
		if !config().Has(configKey) {
			return nil
		}
		store, err := open(config().Sub(configKey))
		if err != nil {
			return err
		}
		if err := store.Check(ctx); err != nil {
			log().WarnContext(ctx, "the bucket for workspaces does not answer: tasks fail until it does", "error", err)
		}
		return errors.Join(workspaces().AddWorkspaceProvider(Name, store), workspaces().AddWorkspaceProvider(OtherName, store))
	}
}, backend.WithDescription("Keeps workspaces of tasks in an object store"), core.ConfigSchema(configSchema))

// settings are those of the bucket.
type settings struct {
	Endpoint       string `json:"endpoint"`
	Region         string `json:"region"`
	Bucket         string `json:"bucket"`
	Prefix         string `json:"prefix"`
	ForcePathStyle bool   `json:"forcePathStyle"`
	Credentials    struct {
		AccessKeyID     string `json:"accessKeyId"`
		SecretAccessKey string `json:"secretAccessKey"`
		SessionToken    string `json:"sessionToken"`
	} `json:"credentials"`
	ServerSideEncryption struct {
		Type     string `json:"type"`
		KMSKeyID string `json:"kmsKeyId"`
	} `json:"serverSideEncryption"`
}

func open(c core.Config) (*snapshots.Store, error) {
	s := settings{Endpoint: "https://s3.amazonaws.com", Region: "us-east-1"}
	if err := c.Decode("", &s); err != nil {
		return nil, err
	}
	problem := func(key, text string, err error) error {
		return &core.ConfigError{Key: c.Path(key), Position: c.Position(key), Problem: text, Err: err}
	}
	if s.Bucket == "" {
		return nil, problem("bucket", "is missing", nil)
	}
	endpoint, err := url.Parse(s.Endpoint)
	if err != nil || endpoint.Host == "" || endpoint.Scheme != "https" && endpoint.Scheme != "http" || strings.Trim(endpoint.Path, "/") != "" {
		return nil, problem("endpoint", "is no URL of a host, such as https://s3.eu-central-1.amazonaws.com", nil)
	}
	options := &minio.Options{Region: s.Region, Secure: endpoint.Scheme == "https", Creds: chain(), BucketLookup: minio.BucketLookupAuto}
	if s.ForcePathStyle {
		options.BucketLookup = minio.BucketLookupPath
	}
	if keys := s.Credentials; keys.AccessKeyID != "" || keys.SecretAccessKey != "" {
		if keys.AccessKeyID == "" || keys.SecretAccessKey == "" {
			return nil, problem("credentials", "needs both accessKeyId and secretAccessKey", nil)
		}
		options.Creds = credentials.NewStaticV4(keys.AccessKeyID, keys.SecretAccessKey, keys.SessionToken)
	}
	client, err := minio.New(endpoint.Host, options)
	if err != nil {
		return nil, problem("endpoint", "cannot be used", err)
	}
	encryption, err := s.encryption()
	if err != nil {
		return nil, problem("serverSideEncryption", err.Error(), nil)
	}
	return snapshots.New(client, s.Bucket, s.Prefix, encryption), nil
}

// chain looks for credentials where other tools of AWS do.
func chain() *credentials.Credentials {
	return credentials.NewChainCredentials([]credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{}})
}

func (s settings) encryption() (encrypt.ServerSide, error) {
	switch s.ServerSideEncryption.Type {
	case "":
		return nil, nil
	case "AES256":
		return encrypt.NewSSE(), nil
	case "aws:kms":
		return encrypt.NewSSEKMS(s.ServerSideEncryption.KMSKeyID, nil)
	}
	return nil, errors.New("has a type that is neither AES256 nor aws:kms")
}
