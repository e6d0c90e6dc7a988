//go:build !linux

package spread

import "os"

// MkdirAll is [os.MkdirAll].
func MkdirAll(dir string, perm os.FileMode) error { return os.MkdirAll(dir, perm) }
