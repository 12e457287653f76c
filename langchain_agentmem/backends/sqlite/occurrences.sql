The statements that describe the tables of a database.

-- tables --
-- Return the names of all tables but virtual ones, whose data is in other tables. Parameters: none.
SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'
ORDER BY name

-- columns --
-- Return the columns of a table: the name, the type, and the number in the primary key (0: none). Parameter: the table.
SELECT name, type, pk FROM pragma_table_info(?)
