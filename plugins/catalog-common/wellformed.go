package catalogcommon

// wellFormed is a shortcut for the usual entity: if it returns true, the
// envelope and entity schemas accept e; if not, they have to be asked. Every
// entity passes these checks several times on its way, and this takes a
// fraction of the time of a schema validator. The schemas stay the only source
// of messages; a fuzz test holds the shortcut to them.
func wellFormed(e Entity) bool {
	for field, value := range e {
		switch field {
		case "apiVersion", "kind":
			if !isText(value) {
				return false
			}
		case "metadata":
		case "spec":
			if _, ok := value.(map[string]any); !ok {
				return false
			}
		default:
			return false
		}
	}
	metadata, _ := e["metadata"].(map[string]any)
	if metadata == nil || metadata["name"] == nil || e["apiVersion"] == nil || e["kind"] == nil {
		return false
	}
	for field, value := range metadata {
		ok := true
		switch field {
		case "name", "namespace", "title", "uid", "etag":
			ok = isText(value)
		case "description":
			_, ok = value.(string)
		case "labels", "annotations":
			ok = holdsStrings(value)
		case "tags":
			ok = holdsTexts(value)
		case "links":
			ok = holdsLinks(value)
		}
		if !ok {
			return false
		}
	}
	return true
}

// isText reports whether v is a string that is not empty.
func isText(v any) bool {
	s, ok := v.(string)
	return ok && s != ""
}

func holdsStrings(v any) bool {
	m, ok := v.(map[string]any)
	if !ok {
		return false
	}
	for _, value := range m {
		if _, ok := value.(string); !ok {
			return false
		}
	}
	return true
}

func holdsTexts(v any) bool {
	items, ok := v.([]any)
	if !ok {
		return false
	}
	for _, item := range items {
		if !isText(item) {
			return false
		}
	}
	return true
}

func holdsLinks(v any) bool {
	items, ok := v.([]any)
	if !ok {
		return false
	}
	for _, item := range items {
		link, _ := item.(map[string]any)
		if !isText(link["url"]) {
			return false
		}
		for _, field := range [...]string{"title", "icon", "type"} {
			if value, there := link[field]; there && !isText(value) {
				return false
			}
		}
	}
	return true
}
