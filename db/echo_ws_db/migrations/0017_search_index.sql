-- migrate:up transaction:false

-- Without the list of what is pending: every search would read it once for each conversation.
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_messages_search ON messages.messages
USING gin (messages.searchable(conversation_id, seq, from_user_id, type, content)) WITH (fastupdate = off)
WHERE seq IS NOT NULL AND deleted IS NOT TRUE;

-- migrate:down transaction:false
DROP INDEX CONCURRENTLY IF EXISTS messages.idx_messages_search;
