package actions

const draft = `"$schema":"http://json-schema.org/draft-07/schema#"`

// JSON Schemas of inputs and outputs. Clients of the original know the names.
const (
	emptyInput = `{"type":"object","properties":{},"additionalProperties":false,` + draft + `}`
	anyObject  = `{"type":"object","properties":{},"additionalProperties":true,` + draft + `}`

	modelOutput = `{"type":"object","properties":{"description":{"type":"string","description":"The model, as markdown"}},"required":["description"],"additionalProperties":false,` + draft + `}`

	entityNameInput = `{"type":"object","properties":{"kind":{"type":"string","description":"Kind of the entity; may be left out if it is not known"},` +
		`"namespace":{"type":"string","description":"Namespace of the entity; may be left out if it is not known"},` +
		`"name":{"type":"string","description":"Name of the entity"}},"required":["name"],"additionalProperties":false,` + draft + `}`

	validateInput = `{"type":"object","properties":{"entity":{"type":"string","description":"YAML text of the entity"},` +
		`"location":{"type":"string","format":"uri","description":"URL at which the file will be; relative references count from there"}},"required":["entity"],"additionalProperties":false,` + draft + `}`
	validateOutput = `{"type":"object","properties":{"isValid":{"type":"boolean","description":"Whether the catalog would accept the entity"},` +
		`"isValidYaml":{"type":"boolean","description":"Whether the text is YAML"},"errors":{"type":"array","items":{"type":"string"},"description":"What is wrong"},` +
		`"entity":{"type":"object","additionalProperties":{},"description":"The entity, if it is valid"}},"required":["isValid","isValidYaml","errors"],"additionalProperties":false,` + draft + `}`

	registerInput  = `{"type":"object","properties":{"locationUrl":{"type":"string","description":"URL of the catalog file"}},"required":["locationUrl"],"additionalProperties":false,` + draft + `}`
	registerOutput = `{"type":"object","properties":{"locationId":{"type":"string","description":"Id of the registered location"}},"required":["locationId"],"additionalProperties":false,` + draft + `}`

	unregisterInput = `{"type":"object","properties":{"type":{"anyOf":[{"type":"object","properties":{"locationId":{"type":"string","description":"Id of the location"}},"required":["locationId"],"additionalProperties":false},` +
		`{"type":"object","properties":{"locationUrl":{"type":"string","description":"URL that was registered"}},"required":["locationUrl"],"additionalProperties":false}],` +
		`"description":"The location, by its id or by its URL"}},"required":["type"],"additionalProperties":false,` + draft + `}`

	orderField = `{"type":"object","properties":{"field":{"type":"string","description":"Dotted path of the field"},"order":{"type":"string","enum":["asc","desc"],"description":"Direction"}},"required":["field","order"],"additionalProperties":false}`
	queryInput = `{"type":"object","properties":{"query":{"type":"object","additionalProperties":true,"description":"Predicate that the entities meet"},` +
		`"fields":{"type":"array","items":{"type":"string"},"description":"Dotted paths of what to return of each entity; everything if left out"},` +
		`"limit":{"type":"integer","exclusiveMinimum":0,"description":"How many entities a page has at most"},` +
		`"offset":{"type":"integer","minimum":0,"description":"How many entities to skip"},` +
		`"orderFields":{"anyOf":[` + orderField + `,{"type":"array","items":` + orderField + `}],"description":"What to sort by"},` +
		`"fullTextFilter":{"type":"object","properties":{"term":{"type":"string","description":"Text to look for"},"fields":{"type":"array","items":{"type":"string"},"description":"Dotted paths of where to look"}},"required":["term"],"additionalProperties":false,"description":"Text that the entities contain"},` +
		`"cursor":{"type":"string","description":"Where the last page ended; goes before offset"}},"additionalProperties":false,` + draft + `}`
	queryOutput = `{"type":"object","properties":{"items":{"type":"array","items":{"type":"object","properties":{},"additionalProperties":true},"description":"The entities"},` +
		`"totalItems":{"type":"number","description":"How many entities meet the query"},"hasMoreEntities":{"type":"boolean","description":"Whether there is another page"},` +
		`"nextPageCursor":{"type":"string","description":"Cursor of the next page"}},"required":["items","totalItems","hasMoreEntities"],"additionalProperties":false,` + draft + `}`

	refreshInput = `{"type":"object","properties":{"kind":{"type":"string","minLength":1,"description":"Kind of the entity; may be left out if it is not known"},` +
		`"namespace":{"type":"string","minLength":1,"description":"Namespace of the entity; may be left out if it is not known"},` +
		`"name":{"type":"string","minLength":1,"description":"Name of the entity"}},"required":["name"],"additionalProperties":false,` + draft + `}`
	refreshOutput = `{"type":"object","properties":{"entityRef":{"type":"string","description":"Ref of the entity"}},"required":["entityRef"],"additionalProperties":false,` + draft + `}`
)
