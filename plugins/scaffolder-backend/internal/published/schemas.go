package published

// The schemas have the shapes that tools know from the reference.
const (
	draft = `"$schema":"http://json-schema.org/draft-07/schema#"`

	noInput = `{"type":"object","properties":{},"additionalProperties":false,"description":"Nothing",` + draft + `}`

	listTasksInput = `{"type":"object","properties":{` +
		`"owned":{"type":"boolean","default":false,"description":"Whether only tasks that the current user created are listed"},` +
		`"limit":{"type":"integer","minimum":1,"maximum":1000,"description":"How many tasks at most"},` +
		`"offset":{"type":"integer","minimum":0,"description":"How many tasks to skip"},` +
		`"status":{"anyOf":[{"type":"string","enum":["open","processing","completed","failed","cancelled","skipped"]},` +
		`{"type":"array","items":{"$ref":"#/properties/status/anyOf/0"},"minItems":1}],"description":"A status, or some"}` +
		`},"additionalProperties":false,` + draft + `}`
	listTasksOutput = `{"type":"object","properties":{` +
		`"tasks":{"type":"array","items":{"type":"object","properties":{` +
		`"id":{"type":"string","description":"Id of the task"},` +
		`"spec":{"description":"What the task does"},` +
		`"status":{"type":"string","description":"open, processing, completed, failed, cancelled or skipped"},` +
		`"createdAt":{"type":"string","description":"When the task was created"},` +
		`"lastHeartbeatAt":{"type":"string","description":"When the task last gave a sign of life"}` +
		`},"required":["id","status","createdAt"],"additionalProperties":false},"description":"A page of tasks"},` +
		`"totalTasks":{"type":"number","description":"How many tasks there are on all pages"}` +
		`},"required":["tasks","totalTasks"],"additionalProperties":false,"description":"A page of tasks, and how many there are",` + draft + `}`

	dryRunInput = `{"type":"object","properties":{` +
		`"templateYaml":{"type":"string","description":"YAML of the template"},` +
		`"values":{"type":"object","additionalProperties":{},"description":"Values of the form"},` +
		`"files":{"type":"array","items":{"type":"object","properties":{` +
		`"path":{"type":"string","description":"Path beside the template"},"content":{"type":"string","description":"Text of the file, of up to 64 KiB"}` +
		`},"required":["path","content"],"additionalProperties":false},"description":"Files that the template refers to"}` +
		`},"required":["templateYaml"],"additionalProperties":false,` + draft + `}`
	dryRunOutput = `{"type":"object","properties":{` +
		`"valid":{"type":"boolean","description":"Whether the template is valid"},` +
		`"message":{"type":"string","description":"What came of it"},` +
		`"errors":{"type":"array","items":{"type":"string"},"description":"What is wrong"},` +
		`"log":{"type":"array","items":{"type":"object","properties":{"message":{"type":"string"},"stepId":{"type":"string"},"status":{"type":"string"}},"required":["message"],"additionalProperties":false},"description":"The log of the run"},` +
		`"output":{"type":"object","additionalProperties":{},"description":"Output of the template"},` +
		`"steps":{"type":"array","items":{"type":"object","properties":{"id":{"type":"string"},"name":{"type":"string"},"action":{"type":"string"}},"required":["id","name","action"],"additionalProperties":false},"description":"Steps of the template"}` +
		`},"required":["valid","message"],"additionalProperties":false,` + draft + `}`

	listActionsOutput = `{"type":"object","properties":{"actions":{"type":"array","items":{"type":"object","properties":{` +
		`"id":{"type":"string"},"description":{"type":"string"},` +
		`"schema":{"type":"object","properties":{` +
		`"input":{"type":"object","properties":{},"additionalProperties":true,"description":"JSON Schema of the input"},` +
		`"output":{"type":"object","properties":{},"additionalProperties":true,"description":"JSON Schema of the output"}` +
		`},"required":["input","output"],"additionalProperties":false},` +
		`"examples":{"type":"array"}` +
		`},"required":["id","description","schema"],"additionalProperties":false}}},"required":["actions"],"additionalProperties":false,` + draft + `}`

	executeInput = `{"type":"object","properties":{` +
		`"templateRef":{"type":"string","description":"Entity reference of the template, such as template:default/service"},` +
		`"values":{"type":"object","additionalProperties":{},"description":"Values for the form; spec.parameters of the template describes them"},` +
		`"secrets":{"type":"object","additionalProperties":{"type":"string"},"description":"Secrets for the steps; spec.secrets of the template describes them"}` +
		`},"required":["templateRef","values"],"additionalProperties":false,` + draft + `}`
	executeOutput = `{"type":"object","properties":{"taskId":{"type":"string","description":"Id of the task"}},"required":["taskId"],"additionalProperties":false,` + draft + `}`

	logsInput = `{"type":"object","properties":{` +
		`"taskId":{"type":"string","description":"Id of the task"},` +
		`"after":{"type":"integer","minimum":0,"description":"Id of the last event that is known"}` +
		`},"required":["taskId"],"additionalProperties":false,` + draft + `}`
	logsOutput = `{"type":"object","properties":{"events":{"type":"array","items":{"type":"object","properties":{` +
		`"id":{"type":"number","description":"Id of the event"},` +
		`"taskId":{"type":"string","description":"Id of the task"},` +
		`"createdAt":{"type":"string","description":"When it happened"},` +
		`"type":{"type":"string","description":"log, completion, cancelled or recovered"},` +
		`"body":{"type":"object","properties":{` +
		`"message":{"type":"string","description":"What happened"},` +
		`"stepId":{"type":"string","description":"Step that it is about"},` +
		`"status":{"type":"string","description":"Status of the step then"}` +
		`},"required":["message"],"additionalProperties":false,"description":"What the event says"}` +
		`},"required":["id","taskId","createdAt","type","body"],"additionalProperties":false},"description":"Events in order"}` +
		`},"required":["events"],"additionalProperties":false,"description":"The events",` + draft + `}`
)
