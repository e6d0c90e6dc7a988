// Package ownprocess runs one errand of a plugin in a process of its own: the
// same program again, with limits, a folder to write to and nothing else of
// what the backend has. It works on Linux.
//
//	result, err := ownprocess.Work{
//		Plugin: "scaffolder", Errand: "task", Input: task, Config: config, Dir: dir,
//		Limits: ownprocess.Limits{Memory: 1 << 30}, Serve: serve,
//	}.Do(ctx, ctx)
//
// What happens:
//
//  1. The program starts again as the leader of a process group, with an
//     environment of a few variables, one end of a socket pair, and a marker.
//  2. Before anything else it limits itself (setrlimit), gives up gaining
//     privileges, locks itself into its folder (Landlock), and executes itself
//     once more, so that all of that holds for the whole process.
//  3. It reads the first message: the errand, its input and its configuration.
//     [Accept] returns it; package flytower makes the backend of it.
//  4. It calls what it needs through the socket ([Child.Call]), and ends with a
//     result. Messages are JSON with a length in front.
//  5. The group is killed when the work ends, when the caller lets it go, and
//     when the backend dies.
package ownprocess
