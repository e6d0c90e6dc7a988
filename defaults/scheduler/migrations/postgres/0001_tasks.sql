-- The table of the Node backend, whichever of its versions made it.
CREATE TABLE IF NOT EXISTS backstage_backend_tasks__tasks (
  id varchar(255) PRIMARY KEY,
  settings_json text NOT NULL,
  next_run_start_at timestamptz,
  current_run_ticket text,
  current_run_started_at timestamptz,
  current_run_expires_at timestamptz,
  last_run_error_json text,
  last_run_ended_at timestamptz
);
ALTER TABLE backstage_backend_tasks__tasks ALTER COLUMN next_run_start_at DROP NOT NULL;
ALTER TABLE backstage_backend_tasks__tasks ADD COLUMN IF NOT EXISTS last_run_error_json text;
ALTER TABLE backstage_backend_tasks__tasks ADD COLUMN IF NOT EXISTS last_run_ended_at timestamptz;

-- A Node instance must find its own steps recorded, or it would make the table
-- once more.
CREATE TABLE IF NOT EXISTS backstage_backend_tasks__knex_migrations (
  id serial PRIMARY KEY,
  name varchar(255),
  batch integer,
  migration_time timestamptz
);
CREATE TABLE IF NOT EXISTS backstage_backend_tasks__knex_migrations_lock (
  index serial PRIMARY KEY,
  is_locked integer
);
INSERT INTO backstage_backend_tasks__knex_migrations_lock (is_locked)
  SELECT 0 WHERE NOT EXISTS (SELECT FROM backstage_backend_tasks__knex_migrations_lock);
INSERT INTO backstage_backend_tasks__knex_migrations (name, batch, migration_time)
  SELECT step.name, 1, now()
  FROM (VALUES (1, '20210928160613_init.js'), (2, '20240712211735_nullable_next_run.js'), (3, '20250411000000_last_run.js')) AS step (n, name)
  WHERE NOT EXISTS (SELECT FROM backstage_backend_tasks__knex_migrations AS known WHERE known.name = step.name)
  ORDER BY step.n;

-- How often each task was claimed: the fence of its last run.
CREATE TABLE backstage_backend_tasks__fences (
  task_id varchar(255) PRIMARY KEY,
  fence bigint NOT NULL
);
