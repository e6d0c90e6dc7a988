ALTER TABLE scaffolder_task
  -- the ref of the template; '' if there is none
  ADD COLUMN template   text NOT NULL DEFAULT '',
  -- when the first run began, and when the last one ended
  ADD COLUMN started_at bigint,
  ADD COLUMN ended_at   bigint,
  -- how many entries the run of the claim has written, so that none is written twice
  ADD COLUMN written    bigint NOT NULL DEFAULT 0;
UPDATE scaffolder_task SET template = COALESCE(spec::json #>> '{templateInfo,entityRef}', '');
UPDATE scaffolder_task SET ended_at = COALESCE(heartbeat_at, created_at) WHERE status NOT IN ('open', 'processing');
CREATE INDEX scaffolder_task_open ON scaffolder_task (template, created_at, id) WHERE status = 'open';
CREATE INDEX scaffolder_task_processing ON scaffolder_task (template) WHERE status = 'processing';
CREATE INDEX scaffolder_task_ended ON scaffolder_task (ended_at) WHERE ended_at IS NOT NULL;
-- Few of many: the others are lines of logs.
CREATE INDEX scaffolder_task_event_turn ON scaffolder_task_event (task_id, id) WHERE type <> 'log';

-- When a task of a template was claimed last.
CREATE TABLE scaffolder_template_turn (
  template   text PRIMARY KEY,
  claimed_at bigint NOT NULL
);
