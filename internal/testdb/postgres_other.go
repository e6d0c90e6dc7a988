//go:build !unix

package testdb

import (
	"errors"
	"os"
)

func start(...string) (string, error) {
	if dsn := os.Getenv("FLYTOWER_TEST_POSTGRES"); dsn != "" {
		return dsn, nil
	}
	return "", errors.New("a private PostgreSQL server can be started on Unix systems only: set FLYTOWER_TEST_POSTGRES to the URL of a server on which the user may create databases")
}
