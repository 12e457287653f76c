The results of graph nodes and tasks. An entry is found by `place`, a digest of tenant, namespace and key.

-- cache --
-- Create the table. `scope` is a digest of tenant and namespace; `namespace` is a JSON list of its labels.
CREATE TABLE agentmem_cache (
    place bytea PRIMARY KEY,
    scope bytea NOT NULL,
    tenant text NOT NULL,
    namespace text NOT NULL,
    key text NOT NULL,
    type text NOT NULL,
    data bytea NOT NULL,
    stored_at double precision NOT NULL,
    expires_at double precision
) WITH (fillfactor = 80)

-- cache_by_scope --
-- Index the entries by namespace.
CREATE INDEX agentmem_cache_by_scope ON agentmem_cache (scope)

-- cache_by_age --
-- Index the entries by the time at which they were stored.
CREATE INDEX agentmem_cache_by_age ON agentmem_cache (tenant, stored_at)

-- cache_by_expiry --
-- Index the entries that expire.
CREATE INDEX agentmem_cache_by_expiry ON agentmem_cache (tenant, expires_at) WHERE expires_at IS NOT NULL
