// Package scaffoldercommon is what the scaffolder says on the wire: tasks,
// their specification, their status and their events. It consists of values
// and pure functions.
//
//	var task scaffoldercommon.Task
//	if err := json.Unmarshal(text, &task); err != nil {
//		…
//	}
//	if task.Status.Ended() {
//		…
//	}
package scaffoldercommon
