-- migrate:up

-- What concerns one user alone, and what one user alone is not to see.

ALTER TABLE messages.messages
    ADD COLUMN withheld_from UUID NULL,
    ADD COLUMN mentions UUID[] NULL,
    ADD COLUMN pinned_at TIMESTAMP NULL,
    ADD COLUMN pinned_by UUID NULL;
COMMENT ON COLUMN messages.messages.withheld_from IS 'Who had blocked the sender: this user sees a placeholder, for ever';
COMMENT ON COLUMN messages.messages.mentions IS 'Whom the sender named, of those who were members then';

ALTER TABLE messages.members
    ADD COLUMN muted_until TIMESTAMP NULL,
    ADD COLUMN marked_unread BOOLEAN NOT NULL DEFAULT FALSE;
COMMENT ON COLUMN messages.members.muted_until IS 'Until when the member wants no notifications from here; the year 9999: for ever';
COMMENT ON COLUMN messages.members.marked_unread IS 'The member put the conversation back among the unread ones';

CREATE TABLE messages.hidden (
    user_id UUID NOT NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    message_id UUID NOT NULL REFERENCES messages.messages(id) ON DELETE CASCADE,
    conversation_id UUID NOT NULL REFERENCES messages.conversations(id) ON DELETE CASCADE,
    seq BIGINT NOT NULL,
    user_rev BIGINT NOT NULL,
    PRIMARY KEY (user_id, conversation_id, seq)
);
COMMENT ON TABLE messages.hidden IS 'Messages that a user deleted for himself or herself alone';
CREATE INDEX idx_hidden_user_rev ON messages.hidden(user_id, user_rev);
CREATE INDEX idx_hidden_message_id ON messages.hidden(message_id);

CREATE TABLE messages.votes (
    message_id UUID NOT NULL REFERENCES messages.messages(id) ON DELETE CASCADE,
    user_id UUID NOT NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    option SMALLINT NOT NULL,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (message_id, user_id, option)
);
COMMENT ON TABLE messages.votes IS 'Votes in polls; option counts from 0 in the metadata of the message';
CREATE INDEX idx_votes_user_id ON messages.votes(user_id);
CREATE TRIGGER number_vote AFTER INSERT OR UPDATE OR DELETE ON messages.votes
    FOR EACH ROW EXECUTE FUNCTION messages.number_reaction();

CREATE TABLE users.relations (
    user_id UUID NOT NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    other_user_id UUID NOT NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    user_rev BIGINT NOT NULL,
    PRIMARY KEY (user_id, other_user_id)
);
COMMENT ON TABLE users.relations IS 'In which of the user''s own revs contact or block last changed, whoever wrote them';
CREATE INDEX idx_relations_user_rev ON users.relations(user_id, user_rev);

CREATE FUNCTION users.number_relation() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE
    owner UUID = coalesce(NEW.user_id, OLD.user_id);
    other UUID = CASE TG_TABLE_NAME
        WHEN 'contacts' THEN (coalesce(to_jsonb(NEW), to_jsonb(OLD)) ->> 'contact_user_id')::uuid
        ELSE (coalesce(to_jsonb(NEW), to_jsonb(OLD)) ->> 'blocked_user_id')::uuid END;
BEGIN
    IF EXISTS (SELECT FROM auth.users WHERE id = owner) AND EXISTS (SELECT FROM auth.users WHERE id = other) THEN
        INSERT INTO users.relations AS r (user_id, other_user_id, user_rev) VALUES (owner, other, users.take_rev(owner))
        ON CONFLICT (user_id, other_user_id) DO UPDATE SET user_rev = excluded.user_rev;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER number_relation AFTER INSERT OR UPDATE OR DELETE ON users.contacts
    FOR EACH ROW EXECUTE FUNCTION users.number_relation();
CREATE TRIGGER number_relation AFTER INSERT OR UPDATE OR DELETE ON users.blocked_users
    FOR EACH ROW EXECUTE FUNCTION users.number_relation();

CREATE OR REPLACE VIEW messages.snapshots AS
SELECT m.id, m.conversation_id, m.seq, m.rev, m.from_user_id, m.type,
       CASE WHEN m.deleted THEN '' ELSE m.content END AS content,
       m.reply_to_id, coalesce(m.edited, FALSE) AS edited, coalesce(m.deleted, FALSE) AS deleted,
       CASE WHEN NOT coalesce(m.deleted, FALSE) AND jsonb_typeof(m.metadata) = 'object' THEN nullif(m.metadata, '{}') END AS metadata,
       CASE WHEN m.deleted THEN NULL ELSE (
           SELECT jsonb_object_agg(e.emoji, e.people)
           FROM (SELECT r.emoji, count(*) AS people FROM messages.reactions r WHERE r.message_id = m.id GROUP BY r.emoji) e
       ) END AS reactions,
       m.created_at,
       m.withheld_from,
       CASE WHEN NOT coalesce(m.deleted, FALSE) THEN m.forwarded_from_id END AS forwarded_from_id,
       CASE WHEN NOT coalesce(m.deleted, FALSE) THEN m.mentions END AS mentions,
       CASE WHEN NOT coalesce(m.deleted, FALSE) THEN m.pinned_at END AS pinned_at,
       CASE WHEN NOT coalesce(m.deleted, FALSE) THEN m.pinned_by END AS pinned_by,
       CASE WHEN m.type = 'poll' AND NOT coalesce(m.deleted, FALSE) THEN (
           SELECT jsonb_object_agg(o.option, o.people)
           FROM (SELECT v.option, count(*) AS people FROM messages.votes v WHERE v.message_id = m.id GROUP BY v.option) o
       ) END AS votes
FROM messages.messages m
UNION ALL
SELECT e.message_id, e.conversation_id, e.seq, e.rev, e.from_user_id, 'text', '', NULL, FALSE, TRUE, NULL, NULL, e.created_at,
       NULL, NULL, NULL, NULL, NULL, NULL
FROM messages.erased e;

-- migrate:down

-- The view keeps its columns: the functions of before stand on its row type, and name what they read.
CREATE OR REPLACE VIEW messages.snapshots AS
SELECT m.id, m.conversation_id, m.seq, m.rev, m.from_user_id, m.type,
       CASE WHEN m.deleted THEN '' ELSE m.content END AS content,
       m.reply_to_id, coalesce(m.edited, FALSE) AS edited, coalesce(m.deleted, FALSE) AS deleted,
       CASE WHEN NOT coalesce(m.deleted, FALSE) AND jsonb_typeof(m.metadata) = 'object' THEN nullif(m.metadata, '{}') END AS metadata,
       CASE WHEN m.deleted THEN NULL ELSE (
           SELECT jsonb_object_agg(e.emoji, e.people)
           FROM (SELECT r.emoji, count(*) AS people FROM messages.reactions r WHERE r.message_id = m.id GROUP BY r.emoji) e
       ) END AS reactions,
       m.created_at,
       NULL::uuid AS withheld_from, NULL::uuid AS forwarded_from_id, NULL::uuid[] AS mentions, NULL::timestamp AS pinned_at,
       NULL::uuid AS pinned_by, NULL::jsonb AS votes
FROM messages.messages m
UNION ALL
SELECT e.message_id, e.conversation_id, e.seq, e.rev, e.from_user_id, 'text', '', NULL, FALSE, TRUE, NULL, NULL, e.created_at,
       NULL, NULL, NULL, NULL, NULL, NULL
FROM messages.erased e;
DROP TRIGGER number_relation ON users.blocked_users;
DROP TRIGGER number_relation ON users.contacts;
DROP FUNCTION users.number_relation();
DROP TABLE users.relations, messages.votes, messages.hidden;
ALTER TABLE messages.members DROP COLUMN marked_unread, DROP COLUMN muted_until;
ALTER TABLE messages.messages
    DROP COLUMN pinned_by, DROP COLUMN pinned_at, DROP COLUMN mentions, DROP COLUMN withheld_from;
