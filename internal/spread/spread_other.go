//go:build !linux

package spread

import (
	"errors"
	"os"
)

// Subfolders asks the file system to keep the subfolders of a folder apart.
func Subfolders(string) error { return errors.ErrUnsupported }

// TempDir returns the folder of all temporary files.
func TempDir(string) string { return os.TempDir() }
