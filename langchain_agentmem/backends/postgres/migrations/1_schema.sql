What holds for all of our tables.

-- schema --
-- One row: the version of the tables, the language that texts are searched in, and whether the items that LangGraph's own
-- store had left there are all indexed.
CREATE TABLE agentmem_schema (version integer NOT NULL, language text NOT NULL, indexed boolean NOT NULL DEFAULT false)
