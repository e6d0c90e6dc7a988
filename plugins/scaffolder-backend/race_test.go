//go:build race

package scaffolderbackend_test

const raceEnabled = true
