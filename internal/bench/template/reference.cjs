// Renders the texts of standard input, or measures the CPU time of doing so.
const { createRequire } = require('node:module');
const input = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));
const { createTemplateRenderer } = createRequire(input.modules + '/x.js')('nunjitsu');
const renderer = createTemplateRenderer({ allowRegexExecution: true });
const { texts, variables } = input.set;
const context = renderer.prepareContext(variables);
const round = () => texts.forEach(text => renderer.render(text, context));

if (!input.milliseconds) {
  const results = texts.map(text => {
    try {
      return renderer.render(text, context);
    } catch {
      return null;
    }
  });
  console.log(JSON.stringify(results));
} else {
  const until = (microseconds) => {
    const start = process.cpuUsage();
    for (let rounds = 1; ; rounds++) {
      round();
      const { user, system } = process.cpuUsage(start);
      if (user + system > microseconds) {
        return ((user + system) * 1000) / rounds;
      }
    }
  };
  until(input.milliseconds * 500); // so that it is compiled
  console.log(JSON.stringify(until(input.milliseconds * 1000)));
}
