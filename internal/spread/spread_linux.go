package spread

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// topDirectory is FS_TOPDIR_FL of linux/fs.h, the attribute T of chattr(1).
const topDirectory = 0x00020000

// Subfolders asks the file system to keep the subfolders of a folder apart.
// The error is [errors.ErrUnsupported] where it knows no such thing. Folders
// that belong to everybody (with the sticky bit, such as /tmp) and those of
// other users are left alone.
func Subfolders(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	info, err := folder.Stat()
	if err != nil {
		return err
	}
	if !info.IsDir() || info.Mode()&os.ModeSticky != 0 || !mine(info) {
		return fmt.Errorf("%s is not a folder of this user alone: %w", dir, errors.ErrUnsupported)
	}
	fd := int(folder.Fd())
	flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err == nil && flags&topDirectory == 0 {
		err = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(flags|topDirectory))
	}
	if err != nil { // what it is differs from file system to file system
		return fmt.Errorf("keep the subfolders of %s apart: %w: %w", dir, errors.ErrUnsupported, err)
	}
	return nil
}

// TempDir returns the folder of a name for this user among the temporary files
// of the system, and makes it where it is missing. Others may pass through it,
// and see nothing of it. If somebody else has taken the name, it returns the
// folder of all temporary files.
func TempDir(name string) string {
	dir := filepath.Join(os.TempDir(), name+"-"+strconv.Itoa(os.Geteuid()))
	if err := os.Mkdir(dir, 0o711); err == nil {
		if os.Chmod(dir, 0o711) != nil { // whatever the mask is
			return os.TempDir()
		}
	}
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || !mine(info) || info.Mode().Perm()&0o022 != 0 {
		return os.TempDir()
	}
	return dir
}

func mine(info os.FileInfo) bool {
	status, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(status.Uid) == os.Geteuid()
}
