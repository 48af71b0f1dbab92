-- migrate:up

-- What messages said before, whom they name, which of them have replies, who follows those, and which are pinned.

CREATE TABLE messages.edits (
    message_id UUID NOT NULL REFERENCES messages.messages(id) ON DELETE CASCADE,
    version INT NOT NULL,
    content TEXT NOT NULL,
    written_at TIMESTAMP NOT NULL,
    PRIMARY KEY (message_id, version)
);
COMMENT ON TABLE messages.edits IS 'What a message said before it was edited: the last 100 versions, whoever wrote them';

CREATE FUNCTION messages.keep_edit() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE
    next_version INT = coalesce((SELECT max(version) FROM messages.edits WHERE message_id = NEW.id), 0) + 1;
BEGIN
    INSERT INTO messages.edits (message_id, version, content, written_at)
    VALUES (NEW.id, next_version, OLD.content, OLD.updated_at);
    DELETE FROM messages.edits WHERE message_id = NEW.id AND version <= next_version - 100;
    RETURN NULL;
END
$$;
CREATE TRIGGER keep_edit AFTER UPDATE OF content ON messages.messages
    FOR EACH ROW WHEN (NEW.content <> OLD.content AND NEW.deleted IS NOT TRUE AND OLD.deleted IS NOT TRUE)
    EXECUTE FUNCTION messages.keep_edit();

CREATE TABLE messages.mentioned (
    user_id UUID NOT NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    created_at TIMESTAMP NOT NULL,
    message_id UUID NOT NULL REFERENCES messages.messages(id) ON DELETE CASCADE,
    PRIMARY KEY (user_id, created_at, message_id)
);
COMMENT ON TABLE messages.mentioned IS 'Where a user is named: messages.mentions by user and time';
CREATE INDEX idx_mentioned_message_id ON messages.mentioned(message_id);

CREATE FUNCTION messages.note_mentions() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO messages.mentioned (user_id, created_at, message_id)
    SELECT u, NEW.created_at, NEW.id FROM unnest(NEW.mentions) u WHERE u IS DISTINCT FROM NEW.withheld_from
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
CREATE TRIGGER note_mentions AFTER INSERT ON messages.messages
    FOR EACH ROW WHEN (NEW.mentions IS NOT NULL) EXECUTE FUNCTION messages.note_mentions();

CREATE TABLE messages.thread_heads (
    message_id UUID PRIMARY KEY REFERENCES messages.messages(id) ON DELETE CASCADE,
    conversation_id UUID NOT NULL REFERENCES messages.conversations(id) ON DELETE CASCADE,
    last_seq BIGINT NOT NULL
);
COMMENT ON TABLE messages.thread_heads IS 'Messages with replies, and the seq of the last one ever: the order of threads';
CREATE INDEX idx_thread_heads_last_seq ON messages.thread_heads(conversation_id, last_seq);

INSERT INTO messages.thread_heads (message_id, conversation_id, last_seq)
SELECT p.id, p.conversation_id, max(r.seq)
FROM messages.messages r JOIN messages.messages p ON p.id = r.reply_to_id AND p.conversation_id = r.conversation_id
WHERE r.seq IS NOT NULL AND p.deleted IS NOT TRUE
GROUP BY p.id, p.conversation_id;

CREATE FUNCTION messages.note_reply() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO messages.thread_heads AS t (message_id, conversation_id, last_seq)
    SELECT p.id, p.conversation_id, NEW.seq FROM messages.messages p
    WHERE p.id = NEW.reply_to_id AND p.conversation_id = NEW.conversation_id AND p.deleted IS NOT TRUE
    ON CONFLICT (message_id) DO UPDATE SET last_seq = greatest(t.last_seq, excluded.last_seq);
    RETURN NULL;
END
$$;
CREATE TRIGGER note_reply AFTER INSERT ON messages.messages
    FOR EACH ROW WHEN (NEW.reply_to_id IS NOT NULL) EXECUTE FUNCTION messages.note_reply();

CREATE TABLE messages.follows (
    user_id UUID NOT NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    message_id UUID NOT NULL REFERENCES messages.messages(id) ON DELETE CASCADE,
    conversation_id UUID NOT NULL REFERENCES messages.conversations(id) ON DELETE CASCADE,
    followed BOOLEAN NOT NULL,
    user_rev BIGINT NOT NULL,
    PRIMARY KEY (user_id, message_id)
);
COMMENT ON TABLE messages.follows IS 'Threads that a user follows, or did, and in which of the user''s own revs that changed';
CREATE INDEX idx_follows_user_rev ON messages.follows(user_id, user_rev);
CREATE INDEX idx_follows_message_id ON messages.follows(message_id);

CREATE INDEX idx_messages_pinned ON messages.messages(conversation_id) WHERE pinned_at IS NOT NULL;

-- A tombstone keeps nothing of what it was; votes and reactions are not shown with it.
CREATE FUNCTION messages.forget() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM messages.edits WHERE message_id = NEW.id;
    DELETE FROM messages.mentioned WHERE message_id = NEW.id;
    DELETE FROM messages.thread_heads WHERE message_id = NEW.id;
    DELETE FROM messages.threads WHERE parent_message_id = NEW.id OR reply_message_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER forget AFTER UPDATE OF deleted ON messages.messages
    FOR EACH ROW WHEN (NEW.deleted AND OLD.deleted IS NOT TRUE) EXECUTE FUNCTION messages.forget();

-- Whoever votes anew changes several rows and one poll, so messages.vote numbers that itself. A voter who is gone does not.
DROP TRIGGER number_vote ON messages.votes;
CREATE FUNCTION messages.number_lost_vote() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE
    conversation UUID = (SELECT conversation_id FROM messages.messages WHERE id = OLD.message_id);
    taken BIGINT;
BEGIN
    IF conversation IS NOT NULL AND NOT EXISTS (SELECT FROM auth.users WHERE id = OLD.user_id) THEN
        taken = messages.take_rev(conversation);
        UPDATE messages.messages SET rev = taken WHERE id = OLD.message_id;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER number_lost_vote AFTER DELETE ON messages.votes
    FOR EACH ROW EXECUTE FUNCTION messages.number_lost_vote();

-- migrate:down
DROP TRIGGER number_lost_vote ON messages.votes;
CREATE TRIGGER number_vote AFTER INSERT OR UPDATE OR DELETE ON messages.votes
    FOR EACH ROW EXECUTE FUNCTION messages.number_reaction();
DROP TRIGGER forget ON messages.messages;
DROP TRIGGER note_reply ON messages.messages;
DROP TRIGGER note_mentions ON messages.messages;
DROP TRIGGER keep_edit ON messages.messages;
DROP FUNCTION messages.number_lost_vote(), messages.forget(), messages.note_reply(), messages.note_mentions(),
    messages.keep_edit();
DROP INDEX messages.idx_messages_pinned;
DROP TABLE messages.follows, messages.thread_heads, messages.mentioned, messages.edits;
