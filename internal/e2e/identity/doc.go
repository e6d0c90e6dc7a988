// Package identity proves who is who: which credentials reach which routes of
// a backend and as whom, over real HTTP, with the real auth plugin and its
// real tokens. There is nothing to import; matrix_test.go has the table.
package identity
