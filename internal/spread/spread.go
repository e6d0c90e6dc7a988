// Package spread makes folders that get and lose thousands of files, such as
// workspaces of tasks.
//
// Some file systems put what belongs to one folder close together. They then
// look, for each new file, past all those that were removed there in the last
// seconds: with ext4, making a thousand files where several thousand have just
// gone takes five times as long. Folders made by this package have nothing to
// do with their neighbours:
//
//	err := spread.MkdirAll(filepath.Join(os.TempDir(), task), 0o700)
package spread
