Searches keep the words and vectors of a user's messages in memory, and read only the sessions that changed.

-- changes --
-- Add the transaction that changed a session last, and the last one that changed its messages in another way than by an addition
-- at the end.
ALTER TABLE agentmem_sessions
    ADD COLUMN changed xid8 NOT NULL DEFAULT pg_current_xact_id(),
    ADD COLUMN edition xid8 NOT NULL DEFAULT pg_current_xact_id()

-- note_change --
-- Trigger: note the transaction that changes a session. Messages were deleted, or added before the end, if the number of messages
-- and the next position do not change alike.
CREATE FUNCTION agentmem_note_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed := pg_current_xact_id();
    IF NEW.created_at <> OLD.created_at OR NEW.message_count - OLD.message_count <> NEW.next_position - OLD.next_position THEN
        NEW.edition := NEW.changed;
    END IF;
    RETURN NEW;
END $$

-- session_changes --
-- Create the trigger.
CREATE TRIGGER agentmem_session_changes BEFORE UPDATE ON agentmem_sessions
FOR EACH ROW EXECUTE FUNCTION agentmem_note_change()
