package catalogcommon

import "fmt"

// StatusLevel is the severity of a status item.
type StatusLevel string

// The status levels that the entity schema knows.
const (
	StatusInfo    StatusLevel = "info"
	StatusWarning StatusLevel = "warning"
	StatusError   StatusLevel = "error"
)

// StatusItem is one fact about the state of an entity.
type StatusItem struct {
	// Type is the kind of fact, for example StatusTypeProcessing.
	Type    string
	Level   StatusLevel
	Message string
	// Error is the serialised error behind the item: an object with name and
	// message and possibly more. Nil if there is none.
	Error map[string]any
}

// ProcessingStatus is the status item for an error of the catalog's own
// processing, given in serialised form.
func ProcessingStatus(serialised map[string]any) StatusItem {
	return StatusItem{
		Type:    StatusTypeProcessing,
		Level:   StatusError,
		Message: fmt.Sprintf("%s: %s", stringAt(serialised, "name"), stringAt(serialised, "message")),
		Error:   serialised,
	}
}

// AddStatus appends items to status.items, behind those that the entity carries.
func (e Entity) AddStatus(items ...StatusItem) {
	if len(items) == 0 {
		return
	}
	status := ensureObject(e, "status")
	list, _ := status["items"].([]any)
	list = list[:len(list):len(list)] // never write into an array that a clone's owner may share
	for _, item := range items {
		o := map[string]any{"type": item.Type, "level": string(item.Level), "message": item.Message}
		if item.Error != nil {
			o["error"] = item.Error
		}
		list = append(list, o)
	}
	status["items"] = list
}

// Status returns the items of status.items.
func (e Entity) Status() []StatusItem {
	list, _ := objectAt(e, "status")["items"].([]any)
	out := make([]StatusItem, 0, len(list))
	for _, v := range list {
		m, ok := v.(map[string]any)
		if !ok {
			continue
		}
		out = append(out, StatusItem{
			Type:    stringAt(m, "type"),
			Level:   StatusLevel(stringAt(m, "level")),
			Message: stringAt(m, "message"),
			Error:   objectAt(m, "error"),
		})
	}
	return out
}
