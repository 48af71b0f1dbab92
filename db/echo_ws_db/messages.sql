-- Messages: the write path, changes, history.

-- function: messages.enter
-- Lock a conversation's head and return the membership of `viewer`, or NULL for strangers, who never get as far as the
-- lock. Every change begins here. A plpgsql function takes a new snapshot for each of its statements, so what was
-- committed while we waited for the lock counts.
CREATE OR REPLACE FUNCTION messages.enter(conversation UUID, viewer UUID) RETURNS messages.members LANGUAGE plpgsql AS $$
DECLARE
    me messages.members;
BEGIN
    PERFORM FROM messages.heads h
    WHERE h.conversation_id = conversation
      AND EXISTS (SELECT FROM messages.members m
                  WHERE m.conversation_id = conversation AND m.user_id = viewer AND m.left_seq IS NULL)
    FOR NO KEY UPDATE;
    SELECT m.* INTO me
    FROM messages.members m JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
    WHERE m.conversation_id = conversation AND m.user_id = viewer AND m.left_seq IS NULL;
    RETURN me;
END
$$;

-- function: messages.send
-- Write a batch of messages and return one row for each, in the order of the input. Ids are not repeated within a batch.
-- Outcomes: `ok` (stored now, or before: then `is_new` is false), `id_conflict`, `not_found`, `forbidden`, `blocking` (the
-- sender has blocked the other one), `bad_reply`, and `busy`: the head is locked by somebody else, try again.
-- A direct message to one who has blocked the sender is stored and answered like any other, and withheld from that one.
-- `mentions` are array literals, as unnest takes arrays of arrays apart; who is no member is left out.
-- Two statements, two snapshots: the second sees what was committed before the heads were locked.
-- A reply to an earlier row of the batch stands and falls with it, hence the recursion.
CREATE OR REPLACE FUNCTION messages.send(
    ids UUID[], conversations UUID[], senders UUID[], contents TEXT[], replies UUID[], types TEXT[], metadatas JSONB[],
    forwards UUID[], mentions TEXT[], tracked_members INT, wait BOOLEAN)
RETURNS TABLE (n BIGINT, outcome TEXT, is_new BOOLEAN, seq BIGINT, rev BIGINT, created_at TIMESTAMP, untold BOOLEAN,
               withheld_from UUID, mentioned UUID[])
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    locked UUID[];
    wanted UUID[] = ARRAY(
        SELECT DISTINCT m.conversation_id
        FROM unnest(conversations, senders) i(conversation, sender)
        JOIN messages.members m ON m.conversation_id = i.conversation AND m.user_id = i.sender AND m.left_seq IS NULL);
BEGIN
    IF wait THEN
        locked = ARRAY(SELECT conversation_id FROM messages.heads WHERE conversation_id = ANY (wanted)
                       ORDER BY conversation_id FOR NO KEY UPDATE);
    ELSE
        locked = ARRAY(SELECT conversation_id FROM messages.heads WHERE conversation_id = ANY (wanted)
                       ORDER BY conversation_id FOR NO KEY UPDATE SKIP LOCKED);
    END IF;

    RETURN QUERY
    WITH RECURSIVE input AS MATERIALIZED (
        SELECT i.*, m.role, m.silenced, m.joined_seq, c.type, p.user_id AS peer,
               EXISTS (SELECT FROM users.blocked_users b WHERE b.user_id = i.sender AND b.blocked_user_id = p.user_id) AS blocks,
               EXISTS (SELECT FROM users.blocked_users b WHERE b.user_id = p.user_id AND b.blocked_user_id = i.sender) AS is_blocked
        FROM unnest(ids, conversations, senders, contents, replies, types, metadatas, forwards, mentions) WITH ORDINALITY
             AS i(id, conversation, sender, content, reply_to, message_type, metadata, forwarded_from, mention_list, n)
        LEFT JOIN messages.members m
               ON m.conversation_id = i.conversation AND m.user_id = i.sender AND m.left_seq IS NULL
        LEFT JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
        LEFT JOIN LATERAL (  -- a subquery, so that the members of a large channel are not looked through for nothing
            SELECT o.user_id FROM messages.members o
            WHERE c.type = 'direct' AND o.conversation_id = c.id AND o.user_id <> i.sender AND o.left_seq IS NULL
            LIMIT 1
        ) p ON TRUE
    ), judged AS MATERIALIZED (
        SELECT i.*, k.seq AS known_seq, k.created_at AS known_at,
               CASE
                   WHEN k.id IS NOT NULL THEN
                       CASE WHEN (k.conversation_id, k.from_user_id) = (i.conversation, i.sender) THEN 'known' ELSE 'id_conflict' END
                   WHEN i.type IS NULL THEN 'not_found'
                   WHEN i.silenced OR i.role = 'reader' THEN 'forbidden'
                   WHEN i.blocks THEN 'blocking'
                   WHEN i.conversation <> ALL (locked) THEN 'busy'
                   WHEN i.reply_to IS NOT NULL
                        AND NOT EXISTS (SELECT FROM messages.messages r
                                        WHERE r.id = i.reply_to AND r.conversation_id = i.conversation AND r.seq > i.joined_seq)
                       THEN 'bad_reply'
                   ELSE 'new'
               END AS verdict
        FROM input i
        LEFT JOIN LATERAL (
            SELECT id, conversation_id, from_user_id, seq, created_at FROM messages.messages WHERE id = i.id
            UNION ALL
            SELECT message_id, conversation_id, from_user_id, seq, created_at FROM messages.erased WHERE message_id = i.id
        ) k ON TRUE
    ), accepted AS (
        SELECT * FROM judged WHERE verdict = 'new'
        UNION ALL
        SELECT j.* FROM accepted a JOIN judged j ON j.reply_to = a.id AND j.conversation = a.conversation AND j.n > a.n
        WHERE j.verdict = 'bad_reply'
    ), bumped AS (
        UPDATE messages.heads h SET last_seq = h.last_seq + b.n, last_rev = h.last_rev + b.n
        FROM (SELECT conversation, count(*) AS n FROM accepted GROUP BY conversation) b
        WHERE h.conversation_id = b.conversation
        RETURNING h.conversation_id, h.last_seq - b.n AS seq, h.last_rev - b.n AS rev, h.member_count
    ), numbered AS (
        SELECT j.*, b.member_count,
               b.seq + row_number() OVER w AS seq,
               b.rev + row_number() OVER w AS rev,
               CASE WHEN j.is_blocked THEN j.peer END AS withheld_from,
               CASE WHEN j.mention_list IS NOT NULL THEN nullif(ARRAY(
                   SELECT m.user_id FROM messages.members m
                   WHERE m.conversation_id = j.conversation AND m.left_seq IS NULL AND m.user_id = ANY (j.mention_list::uuid[])
                   ORDER BY m.user_id), '{}') END AS mentioned
        FROM accepted j JOIN bumped b ON b.conversation_id = j.conversation
        WINDOW w AS (PARTITION BY j.conversation ORDER BY j.n)
    ), stored AS (
        INSERT INTO messages.messages
            (id, conversation_id, from_user_id, to_user_id, content, reply_to_id, seq, rev, type, metadata, forwarded_from_id,
             mentions, withheld_from)
        SELECT x.id, x.conversation, x.sender, CASE WHEN x.type = 'direct' THEN coalesce(x.peer, x.sender) END,
               x.content, x.reply_to, x.seq, x.rev, x.message_type, coalesce(x.metadata, '{}'), x.forwarded_from,
               x.mentioned, x.withheld_from
        FROM numbered x
        RETURNING id, created_at
    ), threaded AS (
        INSERT INTO messages.threads (parent_message_id, reply_message_id)
        SELECT x.reply_to, x.id FROM numbered x WHERE x.reply_to IS NOT NULL
    ), tracked AS (
        INSERT INTO messages.delivery_tracking (message_id, user_id)
        SELECT x.id, m.user_id
        FROM numbered x
        JOIN messages.members m ON m.conversation_id = x.conversation AND m.left_seq IS NULL AND m.user_id <> x.sender
        WHERE x.type <> 'channel' AND x.member_count <= tracked_members
    ), told AS (
        -- Not waiting for a conversation row that another service holds: it may be waiting for our head.
        UPDATE messages.conversations c SET last_message_id = l.id, last_message_at = l.created_at
        FROM (SELECT DISTINCT ON (x.conversation) x.conversation, x.id, s.created_at, x.member_count
              FROM numbered x JOIN stored s ON s.id = x.id ORDER BY x.conversation, x.seq DESC) l
        WHERE c.id = l.conversation
          AND c.id IN (SELECT f.id FROM messages.conversations f JOIN bumped b ON b.conversation_id = f.id
                       WHERE b.member_count <= 100 OR f.last_message_at IS NULL
                          OR f.last_message_at < CURRENT_TIMESTAMP - INTERVAL '1 second'
                       FOR NO KEY UPDATE OF f SKIP LOCKED)
        RETURNING c.id
    )
    SELECT j.n, CASE WHEN x.n IS NOT NULL OR j.verdict = 'known' THEN 'ok' ELSE j.verdict END, x.n IS NOT NULL,
           CASE j.verdict WHEN 'known' THEN j.known_seq ELSE x.seq END, x.rev,
           CASE j.verdict WHEN 'known' THEN j.known_at ELSE s.created_at END,
           x.n IS NOT NULL AND j.conversation NOT IN (SELECT id FROM told), x.withheld_from, x.mentioned
    FROM judged j
    LEFT JOIN numbered x ON x.n = j.n
    LEFT JOIN stored s ON s.id = j.id
    ORDER BY j.n;
END
$$;

-- function: messages.edit
CREATE OR REPLACE FUNCTION messages.edit(
    conversation UUID, message UUID, editor UUID, new_content TEXT, OUT outcome TEXT, OUT snapshot messages.snapshots)
LANGUAGE plpgsql AS $$
DECLARE
    me messages.members = messages.enter(conversation, editor);
    old messages.messages;
BEGIN
    SELECT * INTO old FROM messages.messages m
    WHERE m.id = message AND m.conversation_id = conversation AND m.seq > me.joined_seq AND m.deleted IS NOT TRUE;
    outcome = CASE
        WHEN old.id IS NULL THEN 'not_found'
        WHEN old.from_user_id <> editor OR me.silenced THEN 'forbidden'
        ELSE 'ok'
    END;
    IF outcome = 'ok' THEN
        UPDATE messages.messages m
        SET content = new_content, edited = TRUE, withheld_from = coalesce(m.withheld_from, (
            SELECT b.user_id FROM users.blocked_users b WHERE b.user_id = m.to_user_id AND b.blocked_user_id = editor))
        WHERE m.id = message AND m.content <> new_content;
        SELECT s.* INTO snapshot FROM messages.snapshots s WHERE s.id = message;
    END IF;
END
$$;

-- function: messages.remove
CREATE OR REPLACE FUNCTION messages.remove(
    conversation UUID, message UUID, remover UUID, OUT outcome TEXT, OUT snapshot messages.snapshots)
LANGUAGE plpgsql AS $$
DECLARE
    me messages.members = messages.enter(conversation, remover);
    old messages.messages;
    may_moderate BOOLEAN = me.role = 'admin' AND EXISTS (
        SELECT FROM messages.conversations WHERE id = conversation AND type <> 'direct');
BEGIN
    SELECT * INTO old FROM messages.messages m
    WHERE m.id = message AND m.conversation_id = conversation AND m.seq > me.joined_seq;
    outcome = CASE
        WHEN old.id IS NULL THEN 'not_found'
        WHEN old.from_user_id = remover OR may_moderate THEN 'ok'
        ELSE 'forbidden'
    END;
    IF outcome = 'ok' THEN
        UPDATE messages.messages SET content = '', metadata = '{}', deleted = TRUE, deleted_at = CURRENT_TIMESTAMP
        WHERE id = message AND deleted IS NOT TRUE;
        SELECT s.* INTO snapshot FROM messages.snapshots s WHERE s.id = message;
    END IF;
END
$$;

-- function: messages.react
CREATE OR REPLACE FUNCTION messages.react(
    conversation UUID, message UUID, reactor UUID, with_emoji TEXT, is_on BOOLEAN,
    OUT outcome TEXT, OUT snapshot messages.snapshots)
LANGUAGE plpgsql AS $$
DECLARE
    me messages.members = messages.enter(conversation, reactor);
BEGIN
    outcome = CASE WHEN EXISTS (
        SELECT FROM messages.messages m
        WHERE m.id = message AND m.conversation_id = conversation AND m.seq > me.joined_seq AND m.deleted IS NOT TRUE
    ) THEN CASE WHEN me.silenced THEN 'forbidden' ELSE 'ok' END ELSE 'not_found' END;
    IF outcome = 'ok' THEN
        IF is_on THEN
            INSERT INTO messages.reactions (message_id, user_id, emoji) VALUES (message, reactor, with_emoji)
            ON CONFLICT DO NOTHING;
        ELSE
            DELETE FROM messages.reactions WHERE message_id = message AND user_id = reactor AND emoji = with_emoji;
        END IF;
        SELECT s.* INTO snapshot FROM messages.snapshots s WHERE s.id = message;
    END IF;
END
$$;

-- function: messages.hide
-- Note that a user deleted a message for himself or herself alone; noted before: nothing changes.
CREATE OR REPLACE FUNCTION messages.hide(conversation UUID, message UUID, hider UUID, OUT outcome TEXT)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM users.heads h WHERE h.user_id = hider FOR NO KEY UPDATE;
    outcome = 'ok';
    IF NOT EXISTS (SELECT FROM messages.hidden h
                   WHERE h.message_id = message AND h.user_id = hider AND h.conversation_id = conversation) THEN
        INSERT INTO messages.hidden (user_id, message_id, conversation_id, seq, user_rev)
        SELECT hider, m.id, m.conversation_id, m.seq, users.take_rev(hider)
        FROM messages.messages m
        JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
        WHERE m.id = message AND m.conversation_id = conversation AND messages.is_readable(conversation, hider, m.seq, m.rev);
        outcome = CASE WHEN FOUND THEN 'ok' ELSE 'not_found' END;
    END IF;
END
$$;

-- name: send(ids, conversations, senders, contents, replies, types, metadatas, forwards, mentions, tracked_members, wait) -> SendRow
-- The group commit: one row for each message, in the order given.
SELECT n, outcome, is_new, seq, rev, created_at, untold, withheld_from, mentioned
FROM messages.send($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)

-- function: messages.tell
-- Lock first, look then: what a send commits while we wait for the lock is later than what we would have seen.
CREATE OR REPLACE FUNCTION messages.tell(untold UUID[]) RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM messages.conversations WHERE id = ANY (untold) ORDER BY id FOR NO KEY UPDATE;
    UPDATE messages.conversations c SET last_message_id = l.id, last_message_at = l.created_at
    FROM unnest(untold) i(id)
    CROSS JOIN LATERAL (
        SELECT m.id, m.created_at FROM messages.messages m WHERE m.conversation_id = i.id ORDER BY m.seq DESC LIMIT 1
    ) l
    WHERE c.id = i.id;
END
$$;

-- name: tell(conversations) -> None
-- Write last_message_* of large conversations, whose sends leave it at most once a second.
SELECT messages.tell($1)

-- name: find(ids, conversations, senders) -> FoundRow
-- Which of these sends are stored: how an unknown outcome becomes known.
SELECT i.n, m.seq, m.created_at
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) WITH ORDINALITY i(id, conversation, sender, n)
JOIN messages.messages m ON m.id = i.id AND m.conversation_id = i.conversation AND m.from_user_id = i.sender

-- name: edit(conversation, message, editor, content) -> ChangedRow
-- The same content again: the message as it is, no rev taken.
SELECT outcome, to_jsonb(snapshot)::text AS snapshot
FROM messages.edit($1, $2, $3, $4)

-- name: remove(conversation, message, remover) -> ChangedRow
-- Leave a tombstone. Deleted already: the tombstone, no rev taken.
SELECT outcome, to_jsonb(snapshot)::text AS snapshot
FROM messages.remove($1, $2, $3)

-- name: react(conversation, message, reactor, emoji, is_on) -> ChangedRow
-- Set or take away one emoji. As it was already: the message as it is, no rev taken.
SELECT outcome, to_jsonb(snapshot)::text AS snapshot
FROM messages.react($1, $2, $3, $4, $5)

-- name: hide(conversation, message, hider) -> None
-- Delete a message for one user alone.
SELECT messages.hide($1, $2, $3) AS outcome

-- name: before(conversation, viewer, seq, limit) -> ReadRow
-- The readable messages below `seq`, the last one first.
SELECT s.seq, to_jsonb(s)::text AS snapshot
FROM messages.snapshots s
WHERE s.conversation_id = $1 AND s.seq < $3 AND messages.is_readable($1, $2, s.seq, s.rev)
  AND EXISTS (SELECT FROM messages.conversations c WHERE c.id = $1 AND c.deleted_at IS NULL)
ORDER BY s.seq DESC
LIMIT $4

-- name: after(conversation, viewer, seq, limit) -> ReadRow
-- The readable messages above `seq`, the first one first.
SELECT s.seq, to_jsonb(s)::text AS snapshot
FROM messages.snapshots s
WHERE s.conversation_id = $1 AND s.seq > $3 AND messages.is_readable($1, $2, s.seq, s.rev)
  AND EXISTS (SELECT FROM messages.conversations c WHERE c.id = $1 AND c.deleted_at IS NULL)
ORDER BY s.seq
LIMIT $4

-- function: messages.is_readable
-- What a member may read: the seqs of the times of membership and, of one who left, nothing that changed since; nothing
-- that the member deleted for himself or herself.
CREATE OR REPLACE FUNCTION messages.is_readable(conversation UUID, viewer UUID, at_seq BIGINT, at_rev BIGINT)
RETURNS BOOLEAN LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM messages.members m
        WHERE m.conversation_id = conversation AND m.user_id = viewer AND at_seq > m.joined_seq
          AND (m.left_seq IS NULL OR (at_seq <= m.left_seq AND at_rev <= m.left_rev)))
       AND NOT EXISTS (SELECT FROM messages.hidden h
                       WHERE h.user_id = viewer AND h.conversation_id = conversation AND h.seq = at_seq)
$$;
