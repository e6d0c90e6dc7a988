package spread

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// topDirectory is FS_TOPDIR_FL of linux/fs.h, the attribute T of chattr(1): what
// is in such a folder is put into different parts of the file system.
const topDirectory = 0x00020000

// MkdirAll is [os.MkdirAll], and keeps a folder that it makes apart from its
// neighbours, where the file system knows how. It makes the folder in a hidden
// one with the attribute for that, beside it, and moves it: files are put where
// their folder was made.
func MkdirAll(dir string, perm os.FileMode) error {
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) && apart(filepath.Clean(dir), perm) == nil {
		return nil
	}
	return os.MkdirAll(dir, perm)
}

func apart(dir string, perm os.FileMode) error {
	parent, name := filepath.Split(dir)
	nursery := filepath.Join(parent, ".flytower-spread-"+strconv.Itoa(os.Geteuid()))
	defer os.Remove(nursery) // unless it is in use; who loses it makes a folder like any other
	if err := prepare(nursery); err != nil {
		return err
	}
	made := filepath.Join(nursery, name)
	if err := os.Mkdir(made, perm); err != nil {
		return err
	}
	if err := os.Rename(made, dir); err != nil {
		return errors.Join(err, os.Remove(made))
	}
	return nil
}

// prepare makes the folder in which others are made. One that others could have
// put there, or could write to, is no good.
func prepare(nursery string) error {
	if err := os.Mkdir(nursery, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	fd, err := unix.Open(nursery, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: nursery, Err: err}
	}
	defer unix.Close(fd)
	var status unix.Stat_t
	if err := unix.Fstat(fd, &status); err != nil {
		return &os.PathError{Op: "stat", Path: nursery, Err: err}
	}
	if int(status.Uid) != os.Geteuid() || status.Mode&0o077 != 0 {
		return fmt.Errorf("%s is not a folder of this user alone", nursery)
	}
	flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err == nil && flags&topDirectory == 0 {
		err = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(flags|topDirectory))
	}
	if err != nil { // what it is differs from file system to file system
		return fmt.Errorf("the file system of %s keeps no folders apart: %w", nursery, err)
	}
	return nil
}
