// Command fx compares the wiring and the start of a backend with that of
// go.uber.org/fx, for the same work in one run:
//
//	go run . -test.benchtime 200ms
//
// Work is N plugins with ten dependencies each, either on ten services that
// all share, or on ten services of their own; each plugin has an init
// function, which in fx is a start hook. It is wired, validated, started and
// stopped. The module is apart from the main one, so that nobody else depends
// on fx.
package main
