// Package spread is about folders whose subfolders come and go by the
// thousands of files, such as workspaces of tasks.
//
// Some file systems put what belongs to one folder close together. They then
// look, for each new file, past all those that were removed there in the last
// seconds: with ext4, making a thousand files where several thousand have just
// gone takes five times as long. A folder can say that its subfolders have
// nothing to do with each other:
//
//	dir := spread.TempDir("flytower-scaffolder")
//	_ = spread.Subfolders(dir) // as well as the file system knows how
package spread
