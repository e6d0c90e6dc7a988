// Checks values against schemas with the npm package jsonschema, for main.go:
// reads [schema, value] from each line of the standard input, and writes what
// is wrong, or {"throws": true} where the package cannot apply the schema.
const path = require('node:path');
const { validate } = require(path.join(process.argv.at(-1), 'node_modules', 'jsonschema'));

// allOf puts the whole result into its argument, which repeats the problems.
const short = (key, value) => (value !== null && typeof value === 'object' && 'propertyPath' in value && 'errors' in value ? value.errors.length === 0 : value);

for (const line of require('node:fs').readFileSync(0, 'utf8').trimEnd().split('\n')) {
  const [schema, value] = JSON.parse(line);
  let found;
  try {
    found = validate(value, schema).errors;
  } catch {
    found = { throws: true };
  }
  process.stdout.write(JSON.stringify(found, short) + '\n');
}
